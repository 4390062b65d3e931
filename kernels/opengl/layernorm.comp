#version 430
// LayerNorm: y = (x−mean)·r·w + b, r = 1/√(var + eps), the biased variance taken
// in a second pass. One group a row. Model: kernels.refLayerNormRow.
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer Y { float y[]; };
layout(std430, binding = 1) writeonly buffer M { float mean[]; };
layout(std430, binding = 2) writeonly buffer R { float r[]; };
layout(std430, binding = 3) readonly buffer X { float x[]; };
layout(std430, binding = 4) readonly buffer W { float w[]; };
layout(std430, binding = 5) readonly buffer B { float b[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int mean0;
layout(location = 2) uniform int r0;
layout(location = 3) uniform int x0;
layout(location = 4) uniform int w0;
layout(location = 5) uniform int b0;
layout(location = 6) uniform int n;
layout(location = 7) uniform int d;
layout(location = 8) uniform float eps;

void main() {
    int lane = int(gl_LocalInvocationIndex);
    for (int i = int(gl_WorkGroupID.x); i < n; i += int(gl_NumWorkGroups.x)) {
        float s = 0.0;
        for (int j = lane; j < d; j += LANES)
            s += x[x0 + i * d + j];
        float m = sumLanes(s) / float(d);
        s = 0.0;
        for (int j = lane; j < d; j += LANES) {
            float v = x[x0 + i * d + j] - m;
            s += v * v;
        }
        float q = 1.0 / sqrt(sumLanes(s) / float(d) + eps);
        for (int j = lane; j < d; j += LANES)
            y[y0 + i * d + j] = (x[x0 + i * d + j] - m) * q * w[w0 + j] + b[b0 + j];
        if (lane == 0) {
            mean[mean0 + i] = m;
            r[r0 + i] = q;
        }
    }
}
