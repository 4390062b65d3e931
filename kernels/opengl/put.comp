#version 430
// PutAlongAdd: gx[o,j,i] = Σ of gy[o,l,i] over l with id[o,l,i] = j, in order of l.
// One invocation an element of gx. Model: tensor.PutAlongAdd on the CPU.
layout(local_size_x = 256) in;
layout(std430, binding = 0) writeonly buffer GX { TYPE gx[]; };
layout(std430, binding = 1) readonly buffer GY { TYPE gy[]; };
layout(std430, binding = 2) readonly buffer ID { int id[]; };
layout(location = 0) uniform int gx0;
layout(location = 1) uniform int gy0;
layout(location = 2) uniform int id0;
layout(location = 3) uniform int total; // outer·n·inner
layout(location = 4) uniform int m;
layout(location = 5) uniform int n;
layout(location = 6) uniform int inner;

void main() {
    int step = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    for (int e = int(gl_GlobalInvocationID.x); e < total; e += step) {
        int o = e / (n * inner), j = e / inner - o * n, at = o * m * inner + e % inner;
        TYPE s = TYPE(0);
        for (int l = 0; l < m; l++)
            if (id[id0 + at + l * inner] == j) s += gy[gy0 + at + l * inner];
        gx[gx0 + e] = s;
    }
}
