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

// One rounding: GLSL promises it to fma only where the result is precise.
float fused(float a, float v, float c) {
    precise float r = fma(a, v, c);
    return r;
}

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int i = int(gl_GlobalInvocationID.x); i < n; i += step) {
        float v = x[x0 + i];
        y[y0 + i] = OP(v);
    }
}
