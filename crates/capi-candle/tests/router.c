/* What a router does with libcandle_semantic_router.so, in 32 threads: every served function, its result written out,
 * and everything freed. Usage: router CLASSIFIER OTHER_CLASSIFIER TOKEN_CLASSIFIER EMBEDDER TEXT... */

#include "../../capi/tests/support/answers.h"
#include "router.h"

static void say_class(answer *to, class_result found) {
    say(to, "%d", found.class);
    say_float(to, found.confidence);
}

static void say_probs(answer *to, probs_result found) {
    say_class(to, (class_result){found.class, found.confidence});
    say_floats(to, found.probabilities, found.num_classes);
    free_modernbert_probabilities(found.probabilities, found.num_classes);
}

static void say_entities(answer *to, entities_result found, void (*free_them)(entities_result)) {
    say(to, "%d", found.num_entities);
    for (int i = 0; i < found.num_entities; i++) {
        entity *one = &found.entities[i];
        say(to, " %s %d %d '%s'", one->entity_type, one->start, one->end, one->text);
        say_float(to, one->confidence);
    }
    free_them(found);
}

static void say_embedding(answer *to, int status, const embedding_result *found) {
    if (status != 0 || found->error || !(found->processing_time_ms >= 0)) fail("an embedding");
    say(to, "%d %d %d", found->length, found->model_type, found->sequence_length);
    say_floats(to, found->data, found->length);
    free_embedding(found->data, found->length);
}

#define CLASS(name) \
    static void run_##name(const char *text, answer *to) { say_class(to, name(text)); }
#define PROBS(name) \
    static void run_##name(const char *text, answer *to) { say_probs(to, name(text)); }

CLASS(classify_mmbert_32k_intent)
CLASS(classify_mmbert_32k_factcheck)
CLASS(classify_mmbert_32k_jailbreak)
CLASS(classify_mmbert_32k_feedback)
CLASS(classify_mmbert_32k_modality)
CLASS(classify_modernbert_text)
CLASS(classify_modernbert_pii_text)
CLASS(classify_modernbert_jailbreak_text)
CLASS(classify_fact_check_text)
CLASS(classify_feedback_text)
PROBS(classify_mmbert_32k_jailbreak_with_probabilities)
PROBS(classify_mmbert_32k_feedback_with_probabilities)
PROBS(classify_modernbert_text_with_probabilities)
PROBS(classify_modernbert_jailbreak_text_with_probabilities)
PROBS(classify_feedback_text_with_probabilities)

static void run_classify_mmbert_32k_pii_tokens(const char *text, answer *to) {
    say_entities(to, classify_mmbert_32k_pii_tokens(text), free_modernbert_token_result);
}

static void run_classify_modernbert_pii_tokens(const char *text, answer *to) {
    say_entities(to, classify_modernbert_pii_tokens(text, "config.json"), free_modernbert_token_result);
}

static void run_classify_candle_bert_tokens(const char *text, answer *to) {
    say_entities(to, classify_candle_bert_tokens(text), free_bert_token_classification_result);
}

static void run_get_embedding_2d_matryoshka(const char *text, answer *to) {
    POISONED(embedding_result, found);
    say_embedding(to, get_embedding_2d_matryoshka(text, "mmbert", 6, 32, &found), &found);
}

static void run_get_embedding_with_model_type(const char *text, answer *to) {
    POISONED(embedding_result, found);
    say_embedding(to, get_embedding_with_model_type(text, "mmbert", 64, &found), &found);
}

static void run_get_embedding_batched(const char *text, answer *to) {
    POISONED(embedding_result, found);
    say_embedding(to, get_embedding_batched(text, "mmbert", 0, &found), &found);
}

static void run_get_embedding_with_dim(const char *text, answer *to) {
    POISONED(embedding_result, found);
    say_embedding(to, get_embedding_with_dim(text, 0.9f, 0.1f, 32, &found), &found);
}

static void run_get_embedding_smart(const char *text, answer *to) {
    POISONED(embedding_result, found);
    say_embedding(to, get_embedding_smart(text, 0.5f, 0.5f, &found), &found);
}

static void run_calculate_embedding_similarity(const char *text, answer *to) {
    POISONED(similarity_result, found);
    int status = calculate_embedding_similarity(text, texts[0], "auto", 0, &found);
    if (status != 0 || found.error) fail("a similarity");
    say(to, "%d", found.model_type);
    say_float(to, found.similarity);
}

static void run_calculate_similarity_batch(const char *text, answer *to) {
    const char *candidates[] = {texts[1], texts[0], texts[1]};
    POISONED(matches_result, found);
    int status = calculate_similarity_batch(text, candidates, 3, 2, "mmbert", 0, &found);
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
    say(to, "%d", embedding_text_exceeds_window(text, "mmbert"));
}

static void run_get_embedding_models_info(const char *text, answer *to) {
    (void)text;
    POISONED(models_result, found);
    if (get_embedding_models_info(&found) != 0 || found.error || found.num_models != 1) fail("models");
    model_info *one = &found.models[0];
    say(to, "%s %d %d %d", one->model_name, one->is_loaded, one->max_sequence_length, one->default_dimension);
    if (strstr(one->model_path, "embedder") == NULL) fail("the path of the model");
    free_embedding_models_info(&found);
    free_embedding_models_info(&found);
}

#define CALL(name) {#name, run_##name}

static const named_call ALL[] = {
    CALL(classify_mmbert_32k_intent),
    CALL(classify_mmbert_32k_factcheck),
    CALL(classify_mmbert_32k_jailbreak),
    CALL(classify_mmbert_32k_feedback),
    CALL(classify_mmbert_32k_modality),
    CALL(classify_modernbert_text),
    CALL(classify_modernbert_pii_text),
    CALL(classify_modernbert_jailbreak_text),
    CALL(classify_fact_check_text),
    CALL(classify_feedback_text),
    CALL(classify_mmbert_32k_jailbreak_with_probabilities),
    CALL(classify_mmbert_32k_feedback_with_probabilities),
    CALL(classify_modernbert_text_with_probabilities),
    CALL(classify_modernbert_jailbreak_text_with_probabilities),
    CALL(classify_feedback_text_with_probabilities),
    CALL(classify_mmbert_32k_pii_tokens),
    CALL(classify_modernbert_pii_tokens),
    CALL(classify_candle_bert_tokens),
    CALL(get_embedding_2d_matryoshka),
    CALL(get_embedding_with_model_type),
    CALL(get_embedding_batched),
    CALL(get_embedding_with_dim),
    CALL(get_embedding_smart),
    CALL(calculate_embedding_similarity),
    CALL(calculate_similarity_batch),
    CALL(embedding_text_exceeds_window),
    CALL(get_embedding_models_info),
};

static void load(char **models) {
    const char *one = models[0], *other = models[1], *tokens = models[2], *embedder = models[3];
    bool loaded = init_mmbert_32k_intent_classifier(one, true) && init_mmbert_32k_factcheck_classifier(one, true) &&
                  init_mmbert_32k_jailbreak_classifier(one, true) && init_mmbert_32k_feedback_classifier(one, true) &&
                  init_mmbert_32k_modality_classifier(one, true) && init_modernbert_classifier(other, true) &&
                  init_modernbert_pii_classifier(other, true) && init_modernbert_jailbreak_classifier(other, true) &&
                  init_fact_check_classifier(other, true) && init_feedback_detector(other, true) &&
                  init_mmbert_32k_pii_classifier(tokens, true) && init_modernbert_pii_token_classifier(tokens, true) &&
                  init_embedding_models_with_mmbert(NULL, "", embedder, true) &&
                  init_mmbert_embedding_model(embedder, true);
    if (!loaded) fail("loading");
    if (init_modernbert_classifier(one, true)) fail("a slot took a second model");
}

int main(int argc, char **argv) {
    if (argc < 7) return 2;
    load(argv + 1);
    texts = argv + 5;
    text_count = argc - 5;
    calls = ALL;
    call_count = sizeof ALL / sizeof *ALL;
    if (getenv("LEAK") != NULL) {
        POISONED(embedding_result, found);
        if (get_embedding_smart(texts[0], 0, 0, &found) != 0) fail("a call");
        memset(&found, 0, sizeof found);
        return 0;
    }
    run_all();
    return 0;
}
