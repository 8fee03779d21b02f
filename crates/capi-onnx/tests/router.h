/* The served functions of onnx-binding, as its Go package declares them. */

#include <stdbool.h>

typedef struct { float *data; int length; bool error; int model_type; int sequence_length; float processing_time_ms; } embedding_result;
typedef struct { float similarity; int model_type; float processing_time_ms; bool error; } similarity_result;
typedef struct { int index; float similarity; } match;
typedef struct { match *matches; int num_matches; int model_type; float processing_time_ms; bool error; } matches_result;
typedef struct { char *model_name; bool is_loaded; int max_sequence_length; int default_dimension; char *model_path; bool supports_layer_exit; char *available_layers; } model_info;
typedef struct { model_info *models; int num_models; bool error; } models_result;
typedef struct { char *label; int class_id; float confidence; int num_classes; float *probabilities; float processing_time_ms; bool error; } class_result;
typedef struct { char *text; char *entity_type; int start; int end; float confidence; } entity;
typedef struct { entity *entities; int num_entities; float processing_time_ms; bool error; char *error_message; } entities_result;
typedef struct { int *offsets; int window_count; bool error; } windows_result;

bool init_mmbert_embedding_model(const char *, bool);
bool is_mmbert_model_initialized(void);
int get_embedding(const char *, embedding_result *);
int get_embedding_with_dim(const char *, int, embedding_result *);
int get_embedding_2d_matryoshka(const char *, int, int, embedding_result *);
int get_embeddings_batch(const char **, int, int, int, embedding_result *);
int calculate_embedding_similarity(const char *, const char *, int, int, similarity_result *);
int calculate_similarity_batch(const char *, const char **, int, int, int, int, matches_result *);
int get_embedding_models_info(models_result *);
int embedding_text_exceeds_window(const char *, const char *);
void free_embedding(float *, int);
void free_batch_similarity_result(matches_result *);
void free_embedding_models_info(models_result *);
bool init_sequence_classifier(const char *, const char *, bool);
bool init_token_classifier(const char *, const char *, bool);
bool is_classifier_loaded(const char *);
int classify_text(const char *, const char *, class_result *);
int classify_batch(const char *, const char **, int, class_result *);
int detect_pii(const char *, const char *, entities_result *);
void free_classification_result(class_result *);
void free_pii_result(entities_result *);

/* Of those that are not served, one per type of result. */
bool init_multimodal_embedding_model(const char *, bool);
int multimodal_encode_text(const char *, int, void *);
windows_result get_text_windows(const char *, int);
void free_text_windows(windows_result);
