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

static bool is_unscanned(entities_result found, int bytes, const char *reason) {
    bool is = found.num_entities == 1 && strcmp(found.entities[0].entity_type, "UNSCANNED") == 0 &&
              found.entities[0].start == 0 && found.entities[0].end == bytes && found.entities[0].confidence == 1 &&
              strstr(found.entities[0].text, reason) != NULL;
    free_modernbert_token_result(found);
    return is;
}

static bool fails_embedding(int status, const embedding_result *found) {
    return status == -1 && found->error && found->data == NULL && found->length == 0 && found->model_type == -1;
}

static void before_loading(void) {
    CHECK(classify_mmbert_32k_intent("text").class == -1);
    CHECK(classify_modernbert_text_with_probabilities("text").class == -1);
    CHECK(classify_candle_bert_tokens("text").num_entities == -1);
    CHECK(classify_modernbert_pii_tokens("text", "config.json").num_entities == -1);
    CHECK(is_unscanned(classify_mmbert_32k_pii_tokens("text"), 4, "init function"));
    POISONED(embedding_result, found);
    CHECK(fails_embedding(get_embedding_2d_matryoshka("text", "mmbert", 0, 0, &found), &found));
    POISONED(models_result, models);
    CHECK(get_embedding_models_info(&models) == -1 && models.error && models.models == NULL);
    CHECK(embedding_text_exceeds_window("text", "mmbert") == -1);
}

static void loading(char **models) {
    CHECK(!init_mmbert_32k_intent_classifier(NULL, true));
    CHECK(!init_mmbert_32k_intent_classifier("", true));
    CHECK(!init_mmbert_32k_intent_classifier(NOT_UTF8, true));
    CHECK(!init_mmbert_32k_intent_classifier("/nowhere", true));
    CHECK(!init_mmbert_32k_intent_classifier(models[1], true));
    CHECK(!init_mmbert_32k_pii_classifier(models[0], true));
    CHECK(!init_mmbert_embedding_model(models[0], true));
    CHECK(!init_embedding_models("qwen3", NULL, true));
    CHECK(!init_embedding_models(NULL, NULL, true));
    CHECK(!init_embedding_models_with_mmbert("qwen3", NULL, models[2], true));
    CHECK(!init_embedding_models_with_mmbert(NULL, "gemma", models[2], true));
    /* A slot that failed is empty, not broken. */
    CHECK(init_mmbert_32k_intent_classifier(models[0], true));
    CHECK(init_mmbert_32k_intent_classifier(models[0], true));
    CHECK(!init_mmbert_32k_intent_classifier(models[1], true));
    CHECK(init_mmbert_32k_jailbreak_classifier(models[0], true));
    CHECK(init_mmbert_32k_pii_classifier(models[1], true));
    CHECK(init_modernbert_pii_token_classifier(models[1], true));
    CHECK(init_mmbert_embedding_model(models[2], true));
}

static void texts_that_cannot_be_read(const char *text, int bytes, const char *reason) {
    class_result class = classify_mmbert_32k_intent(text);
    CHECK(class.class == -1 && class.confidence == 0);
    probs_result probs = classify_mmbert_32k_jailbreak_with_probabilities(text);
    CHECK(probs.class == -1 && probs.probabilities == NULL && probs.num_classes == 0);
    CHECK(classify_candle_bert_tokens(text).num_entities == -1);
    CHECK(classify_modernbert_pii_tokens(text, NULL).num_entities == -1);
    CHECK(is_unscanned(classify_mmbert_32k_pii_tokens(text), bytes, reason));
    POISONED(embedding_result, found);
    CHECK(fails_embedding(get_embedding_2d_matryoshka(text, "mmbert", 0, 0, &found), &found));
    CHECK(fails_embedding(get_embedding_with_dim(text, 0, 0, 0, &found), &found));
    POISONED(similarity_result, similarity);
    CHECK(calculate_embedding_similarity(text, "a", "auto", 0, &similarity) == -1 && similarity.error);
    CHECK(calculate_embedding_similarity("a", text, "auto", 0, &similarity) == -1 && similarity.error);
    const char *candidates[] = {"a", text};
    POISONED(matches_result, matches);
    CHECK(calculate_similarity_batch("a", candidates, 2, 0, "auto", 0, &matches) == -1);
    CHECK(matches.error && matches.matches == NULL && matches.num_matches == 0);
    free_batch_similarity_result(&matches);
}

static void options_that_do_not_exist(void) {
    POISONED(embedding_result, found);
    CHECK(fails_embedding(get_embedding_2d_matryoshka("a", "qwen3", 0, 0, &found), &found));
    CHECK(fails_embedding(get_embedding_2d_matryoshka("a", "", 0, 0, &found), &found));
    CHECK(fails_embedding(get_embedding_2d_matryoshka("a", NULL, 0, 0, &found), &found));
    CHECK(fails_embedding(get_embedding_2d_matryoshka("a", NOT_UTF8, 0, 0, &found), &found));
    CHECK(fails_embedding(get_embedding_2d_matryoshka("a", "mmbert", 7, 0, &found), &found));
    CHECK(fails_embedding(get_embedding_2d_matryoshka("a", "mmbert", 0, 129, &found), &found));
    CHECK(get_embedding_2d_matryoshka("a", "mmbert", 0, 0, NULL) == -1);
    CHECK(get_embedding_models_info(NULL) == -1);
    CHECK(calculate_embedding_similarity("a", "b", "auto", 0, NULL) == -1);
    const char *candidates[] = {"a"};
    POISONED(matches_result, matches);
    CHECK(calculate_similarity_batch("a", NULL, 1, 0, "auto", 0, &matches) == -1 && matches.error);
    CHECK(calculate_similarity_batch("a", candidates, -1, 0, "auto", 0, &matches) == -1 && matches.error);
    CHECK(calculate_similarity_batch("a", candidates, 1, 0, "auto", 0, NULL) == -1);
    CHECK(calculate_similarity_batch("a", candidates, 0, 0, "auto", 0, &matches) == 0 && matches.num_matches == 0);
}

static void frees_of_nothing(void) {
    free_embedding(NULL, 7);
    free_modernbert_probabilities(NULL, 7);
    free_batch_similarity_result(NULL);
    free_embedding_models_info(NULL);
    free_modernbert_token_result((entities_result){NULL, 7});
    free_bert_token_classification_result((entities_result){NULL, -1});
    /* A wrong length does no harm. */
    POISONED(embedding_result, found);
    CHECK(get_embedding_smart("a", 0, 0, &found) == 0);
    free_embedding(found.data, 1 << 30);
}

static void unserved(void) {
    guard_result guard = {0};
    CHECK(!init_deberta_jailbreak_classifier("model", true));
    CHECK(!init_lora_unified_classifier("a", "b", "c", "bert", true));
    CHECK(calculate_similarity("a", "b", 512) == -1);
    CHECK(candle_mlp_from_json_with_device_and_dtype("{}", 0, 0) == NULL);
    CHECK(candle_mlp_select(NULL, NULL, 0) == NULL);
    candle_mlp_free(NULL);
    labelled_result class = classify_candle_bert_text("text");
    CHECK(class.class == -1 && class.confidence == 0 && class.label == NULL);
    hallucination_result hallucination = detect_hallucinations("a", "b", "c", 0.5f);
    CHECK(hallucination.error && !hallucination.has_hallucination && hallucination.spans == NULL);
    CHECK(hallucination.num_spans == 0 && hallucination.error_message == NULL);
    free_hallucination_detection_result(hallucination);
    nli_result nli = classify_nli("a", "b");
    CHECK(nli.label == -1 && nli.error && nli.error_message == NULL);
    /* Said once on standard error, which the test of this program reads. */
    CHECK(classify_nli("a", "b").error);
    CHECK(classify_batch_with_lora(NULL, 0).batch_size == 0);
    tokenization_result tokens = tokenize_text("a", 512);
    CHECK(tokens.error && tokens.token_count == 0 && tokens.token_ids == NULL && tokens.tokens == NULL);
    free_tokenization_result(tokens);
    windows_result windows = get_text_windows("a", 512);
    CHECK(windows.error && windows.window_count == 0 && windows.offsets == NULL);
    most_similar_result most = find_most_similar("a", NULL, 0, 512);
    CHECK(most.index == -1 && most.score == -1);
    embedding_result embedding = get_text_embedding("a", 512);
    CHECK(embedding.error && embedding.data == NULL && embedding.length == 0);
    CHECK(classify_with_qwen3_guard("a", "input", &guard) == -1 && guard.raw_output == NULL);
    free_guard_result(&guard);
    CHECK(is_qwen3_guard_initialized() == 0);
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    before_loading();
    loading(argv + 1);
    texts_that_cannot_be_read(NULL, 0, "null pointer");
    texts_that_cannot_be_read(NOT_UTF8, 0, "UTF-8");
    texts_that_cannot_be_read("", 0, "empty");
    texts_that_cannot_be_read(argv[4], strlen(argv[4]), "tokens, the limit is");
    CHECK(embedding_text_exceeds_window(argv[4], "mmbert") == 1);
    CHECK(embedding_text_exceeds_window("short", "auto") == 0);
    CHECK(embedding_text_exceeds_window("short", "qwen3") == -1);
    CHECK(embedding_text_exceeds_window(NULL, "mmbert") == -1);
    options_that_do_not_exist();
    frees_of_nothing();
    unserved();
    return failures > 0;
}
