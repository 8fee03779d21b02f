/* The functions whose result had another layout up to v0.3.0 of the router, called as each of the two declares them.
 * `LAYOUT` is 3 or 4. What lies behind the result must stay as it is. */

#include <stdbool.h>
#include <string.h>

#if LAYOUT == 3
typedef struct { int class; float confidence; } labelled;
typedef struct { int class; float confidence; float *probabilities; int num_classes; } labelled_probs;
#else
typedef struct { int class; float confidence; char *label; } labelled;
typedef struct { float confidence; int class; char *label; float *probabilities; int num_classes; } labelled_probs;
#endif

labelled classify_text(const char *);

#ifdef __x86_64__
/* How a struct in memory is returned there. A compiler may pass a place of its own, with room behind it. */
void *classify_text_with_probabilities(labelled_probs *, const char *);
#define CLASSIFY(place, text) classify_text_with_probabilities(place, text)
#else
labelled_probs classify_text_with_probabilities(const char *);
#define CLASSIFY(place, text) *(place) = classify_text_with_probabilities(text)
#endif

int main(void) {
    struct { labelled_probs found; unsigned char behind[64]; } place;
    memset(&place, 0xaa, sizeof place);
    CLASSIFY(&place.found, "text");
    labelled plain = classify_text("text");
    bool holds = place.found.class == -1 && place.found.probabilities == NULL && plain.class == -1;
    for (size_t i = 0; i < sizeof place.behind; i++) holds = holds && place.behind[i] == 0xaa;
    return !holds;
}
