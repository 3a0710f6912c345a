// What llama.cpp writes, greedily, under a control vector that its own loader has read.
//
// It links to a built llama.cpp without its headers: the few declarations below are those of its
// C interface, and parameters are passed on as the library fills them. See llama_cpp.py.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>
struct alignas(8) Opaque { char bytes[2048]; };  // parameters: as the library fills them
struct Batch { int32_t n; void *t, *e, *p, *ns, *s, *l; };
struct common_control_vector_load_info { float strength; std::string fname; };
struct common_control_vector_data { int n_embd; std::vector<float> data; };
common_control_vector_data common_control_vector_load(const std::vector<common_control_vector_load_info> &);
extern "C" {
void ggml_backend_load_all_from_path(const char *);
Opaque llama_model_default_params(); Opaque llama_context_default_params(); Opaque llama_model_quantize_default_params();
void *llama_model_load_from_file(const char *, Opaque); void *llama_init_from_model(void *, Opaque);
void *llama_model_get_vocab(void *); int32_t llama_vocab_n_tokens(void *); int32_t llama_model_n_layer(void *);
int32_t llama_tokenize(void *, const char *, int32_t, int32_t *, int32_t, bool, bool);
Batch llama_batch_get_one(int32_t *, int32_t); int32_t llama_decode(void *, Batch); float *llama_get_logits_ith(void *, int32_t);
void llama_set_n_threads(void *, int32_t, int32_t);
int32_t llama_set_adapter_cvec(void *, const float *, size_t, int32_t, int32_t, int32_t);
uint32_t llama_model_quantize(const char *, const char *, const Opaque *);
void llama_log_set(void (*)(int, const char *, void *), void *);
}
static void quiet(int level, const char *text, void *) { if (level >= 3 && level < 5) fputs(text, stderr); }
int main(int n, char **a) {  // LIBS MODEL PROMPT TOKENS LOGITS [CVEC SCALE START END]
  llama_log_set(quiet, nullptr);
  ggml_backend_load_all_from_path(a[1]);
  if (!strcmp(a[2], "f32")) {
    Opaque q = llama_model_quantize_default_params(); int32_t *p = (int32_t *)q.bytes;
    p[0] = 1; p[1] = 0; q.bytes[16] = 1;
    return (int)llama_model_quantize(a[3], a[4], &q);
  }
  void *m = llama_model_load_from_file(a[2], llama_model_default_params());
  void *c = llama_init_from_model(m, llama_context_default_params());
  llama_set_n_threads(c, 1, 1);
  void *v = llama_model_get_vocab(m); int nv = llama_vocab_n_tokens(v);
  std::vector<int32_t> ids(256);
  ids.resize(llama_tokenize(v, a[3], strlen(a[3]), ids.data(), 256, true, true));
  if (n > 6) {
    auto d = common_control_vector_load({{(float)atof(a[7]), a[6]}});
    int s = atoi(a[8]), e = atoi(a[9]);
    s = s <= 0 ? 1 : s; e = e <= 0 ? llama_model_n_layer(m) : e;  // the defaults of the command line
    int rc = llama_set_adapter_cvec(c, d.data.data(), d.data.size(), d.n_embd, s, e);
    fprintf(stderr, "cvec n_embd %d rows %zu range %d-%d rc %d\n", d.n_embd, d.data.size() / d.n_embd, s, e, rc);
  }
  printf("{\"prompt\": ["); for (size_t i = 0; i < ids.size(); i++) printf("%s%d", i ? ", " : "", ids[i]); printf("], \"ids\": [");
  FILE *f = fopen(a[5], "wb");
  int want = atoi(a[4]);
  for (int i = 0; i < want; i++) {
    if (llama_decode(c, llama_batch_get_one(ids.data(), ids.size()))) return 3;
    float *l = llama_get_logits_ith(c, -1);
    fwrite(l, 4, nv, f);
    int best = 0; for (int k = 1; k < nv; k++) if (l[k] > l[best]) best = k;
    printf("%s%d", i ? ", " : "", best); ids.assign(1, best);
  }
  printf("]}\n"); fclose(f);
  return 0;
}
