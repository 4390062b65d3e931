#version 430
// TakeAlong: y[o,j,i] = x[o,id[o,j,i],i], as bits; NaN where id is outside of the
// axis. Model: tensor.TakeAlong on the CPU.
layout(local_size_x = 256) in;
layout(std430, binding = 0) writeonly buffer Y { int y[]; };
layout(std430, binding = 1) readonly buffer X { int x[]; };
layout(std430, binding = 2) readonly buffer ID { int id[]; };
layout(location = 0) uniform int y0;
layout(location = 1) uniform int x0;
layout(location = 2) uniform int id0;
layout(location = 3) uniform int total; // outer·m·inner
layout(location = 4) uniform int m;
layout(location = 5) uniform int n;
layout(location = 6) uniform int inner;

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int e = int(gl_GlobalInvocationID.x); e < total; e += step) {
        int o = e / (m * inner), j = id[id0 + e];
        y[y0 + e] = j >= 0 && j < n ? x[x0 + (o * n + j) * inner + e % inner] : 0x7fc00000;
    }
}
