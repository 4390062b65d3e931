package kernels

func refFromBF16[T Float](y []T, x []BF16) {
	for i := range y {
		y[i] = T(x[i].Float32())
	}
}

func refToBF16[T Float](y []BF16, x []T) {
	for i := range y {
		y[i] = ToBF16(x[i])
	}
}

func refFromF16[T Float](y []T, x []F16) {
	for i := range y {
		y[i] = T(x[i].Float32())
	}
}

func refToF16[T Float](y []F16, x []T) {
	for i := range y {
		y[i] = ToF16(x[i])
	}
}
