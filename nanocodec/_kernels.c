/* What a causal decoder does between its convolutions, each in one pass over memory; nanocodec/kernels.py calls it.
 *
 * Arrays are [batch, time, channels], the channels innermost. Where the compiler can, it makes a copy of each function
 * for each width of vectors; the one for this processor is chosen when the program starts.
 */
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GLIBC__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#define INLINE static inline __attribute__((always_inline)) /* into each copy */
#else
#define FOR_EACH_PROCESSOR
#define INLINE static inline
#endif

enum { BLOCK = 512 }; /* numbers at a time: they stay in the first-level cache */

INLINE void read(float *to, const void *from, int bf16, int64_t n) {
    if (!bf16) {
        memcpy(to, from, n * sizeof(float));
        return;
    }
    const uint16_t *halves = from;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)halves[i] << 16;
        memcpy(to + i, &bits, sizeof bits);
    }
}

/* bf16 is rounded to nearest, ties to even; NaN stays NaN. */
INLINE void write(void *to, const float *from, int bf16, int64_t n) {
    if (!bf16) {
        memcpy(to, from, n * sizeof(float));
        return;
    }
    uint16_t *halves = to;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, from + i, sizeof bits);
        const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
        halves[i] = from[i] == from[i] ? rounded : 0x7fc0;
    }
}

/* sin(y)^2: y less the nearest multiple of pi, which is taken in three parts, then a polynomial (relative error 6e-9;
 * fitted for this). Up to |y| = 1e5 the error stays near that of y itself. */
INLINE float sine_squared(float y) {
    const float whole = 12582912.0f; /* 1.5 * 2^23: to add it and take it away rounds to a whole number */
    const float n = (y * 0.318309886f + whole) - whole;
    const float r = ((y - n * 3.140625f) - n * 9.67502593994140625e-4f) - n * 1.509957990978376432e-7f;
    const float u = r * r;
    const float s = r + r * u * (-1.66666596e-1f + u * (8.33306625e-3f + u * (-1.98096029e-4f + u * 2.60578058e-6f)));
    return s * s;
}

/* total = x + change; out = `past`, then the activation of total; and `past` becomes the end of out.
 *
 * x, change, total: [batch, length, channels]; change may be null, then total is not written and x stands for it.
 * past: [batch, keep, channels]; out: [batch, keep + length, channels], both bf16 or both fp32.
 * tables: slope, alpha and inverse, `period` numbers each, a multiple of the channels; the activation is
 * max(x, slope * x) + inverse * sin(alpha * x)^2. */
FOR_EACH_PROCESSOR
void nanocodec_advance(const void *x, int x_bf16, const void *change, int change_bf16, float *total, void *past,
                       void *out, int out_bf16, const float *tables, int64_t period, int64_t batch, int64_t keep,
                       int64_t length, int64_t channels) {
    const float *slope = tables, *alpha = tables + period, *inverse = tables + 2 * period;
    const int64_t x_size = x_bf16 ? 2 : 4, change_size = change_bf16 ? 2 : 4, out_size = out_bf16 ? 2 : 4;
    const int64_t count = length * channels, kept = keep * channels * out_size;
    for (int64_t item = 0; item < batch; item++) {
        char *memory = (char *)past + item * kept;
        char *start = (char *)out + item * (kept + count * out_size);
        if (kept) memcpy(start, memory, kept);
        for (int64_t at = 0; at < count;) {
            const int64_t phase = at % period, place = item * count + at;
            int64_t n = period - phase < BLOCK ? period - phase : BLOCK;
            n = count - at < n ? count - at : n;
            float v[BLOCK], more[BLOCK];
            read(v, (const char *)x + place * x_size, x_bf16, n);
            if (change) {
                read(more, (const char *)change + place * change_size, change_bf16, n);
                for (int64_t i = 0; i < n; i++) v[i] += more[i];
                memcpy(total + place, v, n * sizeof(float));
            }
            for (int64_t i = 0; i < n; i++) {
                const float leaky = v[i] > 0 ? v[i] : slope[phase + i] * v[i];
                v[i] = leaky + inverse[phase + i] * sine_squared(alpha[phase + i] * v[i]);
            }
            write(start + kept + at * out_size, v, out_bf16, n);
            at += n;
        }
        if (kept) memcpy(memory, start + count * out_size, kept);
    }
}

/* A transposed convolution, kernel 2 * rate and stride `rate`, output channel j from the inputs 2j and 2j + 1.
 *
 * x: [batch, 1 + frames, 2 * channels], the frame before first; out: [batch, frames * rate, channels].
 * weight: [2, 2, rate, channels], by the frame (this, the one before), the input of the pair and the sample. */
FOR_EACH_PROCESSOR
void nanocodec_upsample(const float *x, const float *weight, const float *bias, float *out, int64_t batch,
                        int64_t frames, int64_t rate, int64_t channels) {
    for (int64_t item = 0; item < batch; item++, x += 2 * channels)
        for (int64_t frame = 0; frame < frames; frame++, x += 2 * channels, out += rate * channels)
            for (int64_t at = 0; at < channels; at += BLOCK) {
                const int64_t n = channels - at < BLOCK ? channels - at : BLOCK, part = rate * channels;
                float even[BLOCK], odd[BLOCK], even_before[BLOCK], odd_before[BLOCK];
                for (int64_t j = 0; j < n; j++) {
                    even_before[j] = x[2 * (at + j)];
                    odd_before[j] = x[2 * (at + j) + 1];
                    even[j] = x[2 * (channels + at + j)];
                    odd[j] = x[2 * (channels + at + j) + 1];
                }
                for (int64_t sample = 0; sample < rate; sample++) {
                    const float *w = weight + sample * channels + at;
                    float *to = out + sample * channels + at;
                    for (int64_t j = 0; j < n; j++)
                        to[j] = even[j] * w[j] + odd[j] * w[part + j] + even_before[j] * w[2 * part + j] +
                                odd_before[j] * w[3 * part + j] + bias[at + j];
                }
            }
}
