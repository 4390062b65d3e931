package kernels

func refFromInt8[T Float](y []T, x []int8, scale T) {
	for i := range y {
		y[i] = scale * T(x[i])
	}
}
