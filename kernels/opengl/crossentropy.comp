#version 430
// CrossEntropy: lse[i] = ln Σ_j e^x[i,j], loss[i] = lse[i] − x[i,target[i]], 0 for
// a negative target, NaN for one beyond the classes. Model: kernels.CrossEntropy.
layout(local_size_x = 256) in;
layout(std430, binding = 0) writeonly buffer L { float loss[]; };
layout(std430, binding = 1) writeonly buffer S { float lse[]; };
layout(std430, binding = 2) readonly buffer X { float x[]; };
layout(std430, binding = 3) readonly buffer T { int target[]; };
layout(location = 0) uniform int loss0;
layout(location = 1) uniform int lse0;
layout(location = 2) uniform int x0;
layout(location = 3) uniform int target0;
layout(location = 4) uniform int n;
layout(location = 5) uniform int d;

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
        if (lane == 0) {
            float all = m + logf(s);
            int t = target[target0 + i];
            lse[lse0 + i] = all;
            loss[loss0 + i] = t < 0 ? 0.0 : t < d ? all - x[x0 + i * d + t] : NAN;
        }
    }
}
