package kernels

import "math"

// Reference returns the reference level: plain loops that define every kernel.
// It is always compiled, on every architecture, and is the only level at
// float64.
func Reference[T Float]() *Set[T] {
	return &Set[T]{
		Name:             "reference",
		Tile:             Tile[T]{MR: 4, NR: 4, InPlace: true, Run: refTile[T]},
		FMALoop:          refFMALoop[T],
		FMALoopFLOP:      refFMALoopFLOP,
		PackRows:         refPackRows[T],
		PackCols:         refPackCols[T],
		Dots:             refDots[T],
		Add:              refAdd[T],
		Sub:              refSub[T],
		Mul:              refMul[T],
		Div:              refDiv[T],
		Scale:            refScale[T],
		Axpy:             refAxpy[T],
		Gemv:             refGemv[T],
		FromBF16:         refFromBF16[T],
		ToBF16:           refToBF16[T],
		FromF16:          refFromF16[T],
		ToF16:            refToF16[T],
		FromInt8:         refFromInt8[T],
		Exp:              refMap[T](math.Exp),
		Log:              refMap[T](math.Log),
		Sqrt:             refMap[T](math.Sqrt),
		Tanh:             refMap[T](math.Tanh),
		Erf:              refMap[T](math.Erf),
		Sigmoid:          refSigmoid[T],
		SiLU:             refSiLU[T],
		SiLUGrad:         refSiLUGrad[T],
		SwiGLU:           refSwiGLU[T],
		SwiGLUGrad:       refSwiGLUGrad[T],
		GELU:             refGELU[T],
		GELUGrad:         refGELUGrad[T],
		Sum:              refSum[T],
		Dot:              refDot[T],
		Max:              refMax[T],
		ExpSub:           refExpSub[T],
		RMSNormRow:       refRMSNormRow[T],
		RMSNormGradRow:   refRMSNormGradRow[T],
		LayerNormRow:     refLayerNormRow[T],
		LayerNormGradRow: refLayerNormGradRow[T],
		AdamW:            refAdamW[T],
	}
}
