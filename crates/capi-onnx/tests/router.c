/* What a router does with libonnx_semantic_router.so, in 32 threads: every served function, its result written out, and
 * everything freed. Usage: router CLASSIFIER OTHER_CLASSIFIER TOKEN_CLASSIFIER EMBEDDER TEXT... */

#include "../../capi/tests/support/answers.h"
#include "router.h"

static void say_class(answer *to, class_result *found) {
    if (found->error || !(found->processing_time_ms >= 0)) fail("a class");
    say(to, "%d %s", found->class_id, found->label);
    say_float(to, found->confidence);
    say_floats(to, found->probabilities, found->num_classes);
    free_classification_result(found);
    free_classification_result(found);
}

static void say_embedding(answer *to, embedding_result *found) {
    if (found->error || !(found->processing_time_ms >= 0)) fail("an embedding");
    say(to, "%d %d %d", found->length, found->model_type, found->sequence_length);
    say_floats(to, found->data, found->length);
    free_embedding(found->data, found->length);
}

static void run_classify_text(const char *text, answer *to) {
    POISONED(class_result, found);
    if (classify_text("one", text, &found) != 0) fail("classify_text");
    say_class(to, &found);
}

static void run_classify_batch(const char *text, answer *to) {
    const char *both[] = {text, texts[0]};
    class_result found[2];
    memset(found, 0xaa, sizeof found);
    if (classify_batch("other", both, 2, found) != 0) fail("classify_batch");
    for (int i = 0; i < 2; i++) {
        if (i > 0) say(to, ", ");
        say_class(to, &found[i]);
    }
}

static void run_detect_pii(const char *text, answer *to) {
    POISONED(entities_result, found);
    if (detect_pii("one", text, &found) != 0 || found.error || found.error_message != NULL) fail("detect_pii");
    say(to, "%d", found.num_entities);
    for (int i = 0; i < found.num_entities; i++) {
        entity *each = &found.entities[i];
        say(to, " %s %d %d '%s'", each->entity_type, each->start, each->end, each->text);
        say_float(to, each->confidence);
    }
    free_pii_result(&found);
    free_pii_result(&found);
}

static void run_get_embedding(const char *text, answer *to) {
    POISONED(embedding_result, found);
    if (get_embedding(text, &found) != 0) fail("get_embedding");
    say_embedding(to, &found);
}

static void run_get_embedding_with_dim(const char *text, answer *to) {
    POISONED(embedding_result, found);
    if (get_embedding_with_dim(text, 64, &found) != 0) fail("get_embedding_with_dim");
    say_embedding(to, &found);
}

static void run_get_embedding_2d_matryoshka(const char *text, answer *to) {
    POISONED(embedding_result, found);
    if (get_embedding_2d_matryoshka(text, 6, 32, &found) != 0) fail("get_embedding_2d_matryoshka");
    say_embedding(to, &found);
}

static void run_get_embeddings_batch(const char *text, answer *to) {
    const char *both[] = {text, texts[0]};
    embedding_result found[2];
    memset(found, 0xaa, sizeof found);
    if (get_embeddings_batch(both, 2, 0, 0, found) != 0) fail("get_embeddings_batch");
    say_embedding(to, &found[0]);
    say(to, ", ");
    say_embedding(to, &found[1]);
}

static void run_calculate_embedding_similarity(const char *text, answer *to) {
    POISONED(similarity_result, found);
    if (calculate_embedding_similarity(text, texts[0], 0, 0, &found) != 0 || found.error) fail("a similarity");
    say(to, "%d", found.model_type);
    say_float(to, found.similarity);
}

static void run_calculate_similarity_batch(const char *text, answer *to) {
    const char *candidates[] = {texts[1], texts[0], texts[1]};
    POISONED(matches_result, found);
    int status = calculate_similarity_batch(text, candidates, 3, 2, 0, 0, &found);
    if (status != 0 || found.error) fail("similarities");
    say(to, "%d %d", found.num_matches, found.model_type);
    for (int i = 0; i < found.num_matches; i++) {
        say(to, " %d", found.matches[i].index);
        say_float(to, found.matches[i].similarity);
    }
    free_batch_similarity_result(&found);
    free_batch_similarity_result(&found);
}

static void run_embedding_text_exceeds_window(const char *text, answer *to) {
    say(to, "%d", embedding_text_exceeds_window(text, "any"));
}

static void run_get_embedding_models_info(const char *text, answer *to) {
    (void)text;
    POISONED(models_result, found);
    if (get_embedding_models_info(&found) != 0 || found.error || found.num_models != 1) fail("models");
    model_info *one = &found.models[0];
    say(to, "%s %d %d %d", one->model_name, one->is_loaded, one->max_sequence_length, one->default_dimension);
    say(to, " %d %s", one->supports_layer_exit, one->available_layers);
    if (strstr(one->model_path, "embedder") == NULL) fail("the path of the model");
    free_embedding_models_info(&found);
    free_embedding_models_info(&found);
}

#define CALL(name) {#name, run_##name}

static const named_call ALL[] = {
    CALL(classify_text),
    CALL(classify_batch),
    CALL(get_embedding),
    CALL(get_embedding_with_dim),
    CALL(get_embedding_2d_matryoshka),
    CALL(get_embeddings_batch),
    CALL(calculate_embedding_similarity),
    CALL(calculate_similarity_batch),
    CALL(detect_pii),
    CALL(embedding_text_exceeds_window),
    CALL(get_embedding_models_info),
};

static void load(char **models) {
    if (is_mmbert_model_initialized() || is_classifier_loaded("one")) fail("loaded before it was");
    /* A classifier and a token classifier may have one name. */
    bool loaded = init_sequence_classifier("one", models[0], false) &&
                  init_sequence_classifier("other", models[1], false) && init_token_classifier("one", models[2], false) &&
                  init_mmbert_embedding_model(models[3], true);
    if (!loaded) fail("loading");
    if (!is_mmbert_model_initialized() || !is_classifier_loaded("one")) fail("not loaded after it was");
    if (init_sequence_classifier("one", models[1], false)) fail("a slot took a second model");
}

int main(int argc, char **argv) {
    if (argc < 7) return 2;
    load(argv + 1);
    texts = argv + 5;
    text_count = argc - 5;
    calls = ALL;
    call_count = sizeof ALL / sizeof *ALL;
    if (getenv("LEAK") != NULL) {
        POISONED(class_result, found);
        if (classify_text("one", texts[0], &found) != 0) fail("a call");
        memset(&found, 0, sizeof found);
        return 0;
    }
    run_all();
    return 0;
}
