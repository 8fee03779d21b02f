/* Calls that cannot be answered: each fails in the form of its type, and the process goes on.
 * Usage: bad_input CLASSIFIER TOKEN_CLASSIFIER EMBEDDER LONG_TEXT */

#include "../../capi/tests/support/answers.h"
#include "router.h"

static int failures;

static void check(bool holds, const char *what, int line) {
    if (holds) return;
    failures++;
    printf("line %d: %s\n", line, what);
}

#define CHECK(condition) check(condition, #condition, __LINE__)

static const char *NOT_UTF8 = "caf\xe9";

static bool fails_class(int status, const class_result *found) {
    return status == -1 && found->error && found->class_id == -1 && found->label == NULL && found->probabilities == NULL &&
           found->num_classes == 0;
}

static bool fails_entities(int status, entities_result *found, const char *reason) {
    bool fails = status == -1 && found->error && found->entities == NULL && found->num_entities == 0 &&
                 found->error_message != NULL && strstr(found->error_message, reason) != NULL;
    free_pii_result(found);
    return fails && found->error_message == NULL;
}

static bool fails_embedding(int status, const embedding_result *found) {
    return status == -1 && found->error && found->data == NULL && found->length == 0 && found->model_type == -1;
}

static void before_loading(void) {
    POISONED(class_result, class);
    POISONED(entities_result, entities);
    POISONED(embedding_result, embedding);
    POISONED(models_result, models);
    CHECK(fails_class(classify_text("intent", "text", &class), &class));
    CHECK(fails_entities(detect_pii("pii", "text", &entities), &entities, "init function"));
    CHECK(fails_embedding(get_embedding("text", &embedding), &embedding));
    CHECK(get_embedding_models_info(&models) == -1 && models.error && models.models == NULL);
    CHECK(!is_classifier_loaded("intent"));
    CHECK(!is_classifier_loaded(NULL));
}

static void loading(char **models) {
    CHECK(!init_sequence_classifier(NULL, models[0], false));
    CHECK(!init_sequence_classifier("intent", NULL, false));
    CHECK(!init_sequence_classifier(NOT_UTF8, models[0], false));
    CHECK(!init_sequence_classifier("intent", NOT_UTF8, false));
    CHECK(!init_sequence_classifier("intent", "/nowhere", false));
    CHECK(!init_sequence_classifier("intent", models[1], false));
    CHECK(!init_token_classifier("pii", models[0], false));
    CHECK(!init_mmbert_embedding_model(models[0], true));
    CHECK(!is_classifier_loaded("intent") && !is_mmbert_model_initialized());
    CHECK(init_sequence_classifier("intent", models[0], false));
    CHECK(init_sequence_classifier("intent", models[0], false));
    CHECK(init_token_classifier("pii", models[1], false));
    CHECK(init_mmbert_embedding_model(models[2], true));
}

static void texts_that_cannot_be_read(const char *text, const char *reason) {
    POISONED(class_result, class);
    POISONED(entities_result, entities);
    POISONED(embedding_result, embedding);
    CHECK(fails_class(classify_text("intent", text, &class), &class));
    CHECK(fails_entities(detect_pii("pii", text, &entities), &entities, reason));
    CHECK(fails_embedding(get_embedding(text, &embedding), &embedding));
    CHECK(fails_embedding(get_embedding_2d_matryoshka(text, 0, 0, &embedding), &embedding));
    const char *both[] = {"a", text};
    embedding_result vectors[2];
    memset(vectors, 0xaa, sizeof vectors);
    CHECK(get_embeddings_batch(both, 2, 0, 0, vectors) == -1);
    CHECK(fails_embedding(-1, &vectors[0]) && fails_embedding(-1, &vectors[1]));
    class_result classes[2];
    memset(classes, 0xaa, sizeof classes);
    CHECK(classify_batch("intent", both, 2, classes) == -1 && fails_class(-1, &classes[1]));
    free_classification_result(&classes[0]);
    free_classification_result(&classes[1]);
    POISONED(similarity_result, similarity);
    CHECK(calculate_embedding_similarity(text, "a", 0, 0, &similarity) == -1 && similarity.error);
    POISONED(matches_result, matches);
    CHECK(calculate_similarity_batch("a", both, 2, 0, 0, 0, &matches) == -1 && matches.error && matches.matches == NULL);
}

static void options_that_do_not_exist(void) {
    POISONED(class_result, class);
    POISONED(entities_result, entities);
    POISONED(embedding_result, embedding);
    CHECK(fails_class(classify_text("nobody", "a", &class), &class));
    CHECK(fails_class(classify_text("pii", "a", &class), &class));
    CHECK(fails_class(classify_text(NULL, "a", &class), &class));
    CHECK(fails_class(classify_text(NOT_UTF8, "a", &class), &class));
    CHECK(classify_text("intent", "a", NULL) == -1);
    CHECK(fails_entities(detect_pii("intent", "a", &entities), &entities, "init function"));
    CHECK(fails_entities(detect_pii(NULL, "a", &entities), &entities, "null pointer"));
    CHECK(detect_pii("pii", "a", NULL) == -1);
    CHECK(get_embedding("a", NULL) == -1);
    CHECK(fails_embedding(get_embedding_with_dim("a", 129, &embedding), &embedding));
    CHECK(fails_embedding(get_embedding_2d_matryoshka("a", 7, 0, &embedding), &embedding));
    CHECK(get_embeddings_batch(NULL, 1, 0, 0, &embedding) == -1 && embedding.error);
    const char *one[] = {"a"};
    CHECK(get_embeddings_batch(one, -1, 0, 0, &embedding) == -1);
    CHECK(get_embeddings_batch(one, 1, 0, 0, NULL) == -1);
    CHECK(get_embeddings_batch(one, 0, 0, 0, &embedding) == 0);
    CHECK(classify_batch("intent", NULL, 1, &class) == -1 && class.error);
    CHECK(classify_batch("intent", one, -1, &class) == -1);
    CHECK(classify_batch("intent", one, 1, NULL) == -1);
    CHECK(get_embedding_models_info(NULL) == -1);
    CHECK(calculate_embedding_similarity("a", "b", 0, 0, NULL) == -1);
    CHECK(calculate_similarity_batch("a", one, 1, 0, 0, 0, NULL) == -1);
}

static void frees_of_nothing(void) {
    free_embedding(NULL, 7);
    free_classification_result(NULL);
    free_pii_result(NULL);
    free_batch_similarity_result(NULL);
    free_embedding_models_info(NULL);
    entities_result zeros = {0};
    free_pii_result(&zeros);
}

static void unserved(void) {
    CHECK(!init_multimodal_embedding_model("model", true));
    CHECK(multimodal_encode_text("a", 0, NULL) == -1);
    windows_result windows = get_text_windows("a", 512);
    CHECK(windows.error && windows.window_count == 0 && windows.offsets == NULL);
    free_text_windows(windows);
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    before_loading();
    loading(argv + 1);
    texts_that_cannot_be_read(NULL, "null pointer");
    texts_that_cannot_be_read(NOT_UTF8, "UTF-8");
    texts_that_cannot_be_read("", "empty");
    texts_that_cannot_be_read(argv[4], "tokens, the limit is");
    CHECK(embedding_text_exceeds_window(argv[4], "mmbert") == 1);
    CHECK(embedding_text_exceeds_window(NULL, "mmbert") == -1);
    options_that_do_not_exist();
    frees_of_nothing();
    unserved();
    return failures > 0;
}
