#version 430
// RMSNorm: y[i,j] = x[i,j]·w[j]·r[i], r[i] = 1/√(mean_j x[i,j]² + eps). One group
// a row. Model: kernels.refRMSNormRow.
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer Y { float y[]; };
layout(std430, binding = 1) writeonly buffer R { float r[]; };
layout(std430, binding = 2) readonly buffer X { float x[]; };
layout(std430, binding = 3) readonly buffer W { float w[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int r0;
layout(location = 2) uniform int x0;
layout(location = 3) uniform int w0;
layout(location = 4) uniform int n;
layout(location = 5) uniform int d;
layout(location = 6) uniform float eps;

void main() {
    int lane = int(gl_LocalInvocationIndex);
    for (int i = int(gl_WorkGroupID.x); i < n; i += int(gl_NumWorkGroups.x)) {
        float s = 0.0;
        for (int j = lane; j < d; j += LANES) {
            float v = x[x0 + i * d + j];
            s += v * v;
        }
        float q = 1.0 / sqrt(sumLanes(s) / float(d) + eps);
        for (int j = lane; j < d; j += LANES)
            y[y0 + i * d + j] = x[x0 + i * d + j] * q * w[w0 + j];
        if (lane == 0) r[r0 + i] = q;
    }
}
