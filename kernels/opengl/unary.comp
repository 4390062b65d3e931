#version 430
// Elementwise maps of one operand: y[i] = OP(x[i]). alpha is for those that take
// a scalar. Models: kernels.refMap, refSiLU, refGELU, refScale.
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer Y { float y[]; };
layout(std430, binding = 1) readonly buffer X { float x[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int x0;
layout(location = 2) uniform int n;
layout(location = 3) uniform float alpha;

// ½·(1 + tanh z) is σ(2z), without the cancellation.
float gelu(float v) {
    return v * sigmoid(1.5957691216 * (v + 0.044715 * v * v * v));
}

// fused is a·v + c with one rounding, up to 2⁻⁴⁷: GLSL's own fma may round twice,
// and does on llvmpipe. The product's error comes from Dekker's split, the sum's
// from Knuth's. Source: Dekker 1971; Knuth, TAOCP 2, 4.2.2.
float fused(float a, float v, float c) {
    precise float p = a * v, s = p + c;
    if (!(abs(a) < 1e15 && abs(v) < 1e15 && abs(c) < 1e30)) return s; // the split would overflow
    precise float t = 4097.0 * a, u = 4097.0 * v;
    precise float ah = t - (t - a), vh = u - (u - v);
    precise float al = a - ah, vl = v - vh;
    precise float e = ((ah * vh - p) + ah * vl + al * vh) + al * vl;
    precise float b = s - p;
    precise float d = (p - (s - b)) + (c - b);
    precise float r = s + (d + e);
    return r;
}

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int i = int(gl_GlobalInvocationID.x); i < n; i += step) {
        float v = x[x0 + i];
        y[y0 + i] = OP(v);
    }
}
