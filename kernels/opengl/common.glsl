// Put before every shader, after its defines. The functions here exist because
// GLSL allows its own exp, log and tanh errors of many ULP, and overflow to NaN
// in tanh; these are the same on every driver up to the rounding of a division.

#ifndef LANES
#define LANES 256
#endif
#define INF uintBitsToFloat(0x7f800000u)
#define NAN uintBitsToFloat(0x7fc00000u)
#define LOWEST -3.40282347e38 // finite: drivers may assume that there is no infinity

// isNaN tells by the bits: isnan() and x != x may be taken to be false.
bool isNaN(float x) { return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u; }

// above reports whether a comes before b where the largest is first and NaN is
// larger than all.
bool above(float a, float b) { return a > b || (isNaN(a) && !isNaN(b)); }
bool above(int a, int b) { return a > b; }

// expf is e^x. Error: 2 ULP. Source: Cephes expf: x = n·ln2 + r, |r| ≤ ½·ln2.
float expf(float x) {
    if (x > 88.72283) return INF;
    if (x < -87.33654) return 0.0;
    precise float n = floor(x * 1.44269504 + 0.5);
    precise float r = x - n * 0.693359375; // n times a number of 10 bits: exact
    r = r + n * 2.12194440e-4;
    precise float y = 1.9875691500e-4;
    y = y * r + 1.3981999507e-3;
    y = y * r + 8.3334519073e-3;
    y = y * r + 4.1665795894e-2;
    y = y * r + 1.6666665459e-1;
    y = y * r + 5.0000001201e-1;
    y = y * (r * r) + r + 1.0;
    int e = int(n); // in two steps, since 2^128 is no float32
    int half_e = e >> 1;
    return y * intBitsToFloat((half_e + 127) << 23) * intBitsToFloat((e - half_e + 127) << 23);
}

// logf is ln x: −Inf at 0, NaN below. Error: 1 ULP. Source: FreeBSD's e_logf.c.
float logf(float x) {
    if (isNaN(x) || x == INF) return x;
    if (x < 0.0) return NAN;
    if (x == 0.0) return -INF;
    int bits = floatBitsToInt(x), k = 0;
    if (bits < 0x00800000) { // subnormal
        bits = floatBitsToInt(x * 33554432.0);
        k = -25;
    }
    bits += 0x3f800000 - 0x3f3504f3; // x = 2^k·m, m from √½ to √2
    k += (bits >> 23) - 127;
    float m = intBitsToFloat((bits & 0x007fffff) + 0x3f3504f3);
    precise float f = m - 1.0;
    precise float s = f / (2.0 + f);
    precise float z = s * s;
    precise float w = z * z;
    precise float t = w * (0.40000972152 + w * 0.24279078841) + z * (0.66666662693 + w * 0.28498786688);
    precise float h = 0.5 * f * f;
    float kf = float(k);
    precise float y = s * (h + t) + kf * 9.0580006145e-06 - h + f + kf * 6.9313812256e-01;
    return y;
}

// tanhf is tanh x. Error: 3 ULP. Source: Cephes tanhf.
float tanhf(float x) {
    float a = abs(x);
    if (a > 9.1) return x > 0.0 ? 1.0 : -1.0;
    if (a >= 0.625) {
        float y = 1.0 - 2.0 / (expf(2.0 * a) + 1.0);
        return x > 0.0 ? y : -y;
    }
    float z = x * x;
    return ((((-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2) * z + 1.33314422036e-1) * z - 3.33332819422e-1) * z * x + x;
}

// erff is erf x. Error: 3 ULP. Source: Cephes ndtrf.
float erff(float x) {
    if (isNaN(x)) return x;
    float a = abs(x);
    if (a < 1.0) {
        float z = x * x;
        return ((((((7.853861353153693e-5 * z - 8.010193625184903e-4) * z + 5.188327685732524e-3) * z - 2.685381193529856e-2) * z + 1.128358514861418e-1) * z - 3.761262582423300e-1) * z + 1.128379165726710) * x;
    }
    if (a > 4.0) return x > 0.0 ? 1.0 : -1.0;
    float q = 1.0 / a, z = q * q, p;
    if (a < 2.0)
        p = (((((((2.326819970068386e-2 * z - 1.387039388740657e-1) * z + 3.687424674597105e-1) * z - 5.824733027278666e-1) * z + 6.210004621745983e-1) * z - 4.944515323274145e-1) * z + 3.404879937665872e-1) * z - 2.741127028184656e-1) * z + 5.638259427386472e-1;
    else
        p = ((((((-1.047766399936249e+1 * z + 1.297719955372516e+1) * z - 7.495518717768503) * z + 2.921019019210786) * z - 1.015265279202700) * z + 4.218463358204948e-1) * z - 2.820767439740514e-1) * z + 5.641895067754075e-1;
    float y = 1.0 - expf(-a * a) * q * p;
    return x > 0.0 ? y : -y;
}

// sigmoid is 1/(1+e^−x), without an overflow on the way.
float sigmoid(float x) {
    float e = expf(-abs(x));
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

// syncLanes waits for the whole group: what was written to shared memory before
// is seen, and what is read before is not overwritten. barrier() alone is not
// enough: Mesa 22.3 moved a read of shared memory past it.
void syncLanes() {
    memoryBarrierShared();
    barrier();
}

shared float lanes[LANES];

// sumLanes returns the sum of v over the group, in a fixed tree. Every lane of
// the group must call it.
float sumLanes(float v) {
    uint l = gl_LocalInvocationIndex;
    lanes[l] = v;
    for (uint s = uint(LANES) / 2u; s > 0u; s >>= 1) {
        syncLanes();
        if (l < s) lanes[l] += lanes[l + s];
    }
    syncLanes();
    float r = lanes[0];
    syncLanes(); // the next call writes lanes
    return r;
}

// maxLanes returns the largest v of the group.
float maxLanes(float v) {
    uint l = gl_LocalInvocationIndex;
    lanes[l] = v;
    for (uint s = uint(LANES) / 2u; s > 0u; s >>= 1) {
        syncLanes();
        if (l < s) lanes[l] = max(lanes[l], lanes[l + s]);
    }
    syncLanes();
    float r = lanes[0];
    syncLanes();
    return r;
}

// visible is the number of keys that query i of an entry sees.
int visible(int i, int tq, int tk, bool causal, int prefix) {
    return causal ? clamp(max(i + tk - tq + 1, prefix), 0, tk) : tk;
}
