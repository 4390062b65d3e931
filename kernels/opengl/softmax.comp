#version 430
// Softmax: y[i,j] = e^(x[i,j]−m)/Σ_j e^(x[i,j]−m), m the row's maximum. One group
// a row. Model: kernels.Softmax.
layout(local_size_x = 256) in;
layout(std430, binding = 0) buffer Y { float y[]; };
layout(std430, binding = 1) readonly buffer X { float x[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int x0;
layout(location = 2) uniform int n;
layout(location = 3) uniform int d;

void main() {
    int lane = int(gl_LocalInvocationIndex);
    for (int i = int(gl_WorkGroupID.x); i < n; i += int(gl_NumWorkGroups.x)) {
        float m = LOWEST, s = 0.0;
        for (int j = lane; j < d; j += LANES)
            m = max(m, x[x0 + i * d + j]);
        m = maxLanes(m);
        for (int j = lane; j < d; j += LANES)
            s += expf(x[x0 + i * d + j] - m);
        s = sumLanes(s);
        for (int j = lane; j < d; j += LANES)
            y[y0 + i * d + j] = expf(x[x0 + i * d + j] - m) / s;
    }
}
