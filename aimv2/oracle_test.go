package aimv2

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// This file is a second AIMV2 pre-training model: plain loops, float64, forward
// and hand-written backward, in the style of llm.c. It shares no code with the
// engine, so that the engine's model can be compared with it. TestOracle proves
// it against central differences and against numbers worked out by hand.
//
//	B batch   N image tokens   J text positions (context)   T tokens of a tower
//	D width   H heads   dh = D/H   F hidden   V vocabulary   P patch   E = 3·P·P
//
// A cotangent carries the prefix g: gx is ∂loss/∂x and has the shape of x.
// Backward functions return the gx of their input and add into the gw of weights.

// Weights of the two losses in their sum.
const oraclePixelWeight, oracleTextWeight = 0.4, 1.0

// oracleConfig gives the sizes; decoder fields start with dec. eps is RMSNorm's.
type oracleConfig struct {
	image, patch                            int
	width, depth, heads, hidden             int
	decWidth, decDepth, decHeads, decHidden int
	vocab, context                          int
	eps                                     float64
}

// The patches along one side (a rest of the image is dropped), N, and E.
func (c oracleConfig) grid() int      { return c.image / c.patch }
func (c oracleConfig) tokens() int    { return c.grid() * c.grid() }
func (c oracleConfig) patchSize() int { return 3 * c.patch * c.patch }

type oracleResult struct {
	features                  []float64            // [B, N, D]: encoder output after post_trunk_norm
	logits                    []float64            // [B, J, V]: row j predicts targets[j]
	pixels                    []float64            // [B, N, E]: row k predicts patch k+1, in order (row, col, channel)
	pixelLoss, textLoss, loss float64              // loss = 0.4·pixelLoss + 1.0·textLoss
	grads                     map[string][]float64 // ∂loss/∂parameter, names and layout of the parameters
}

// Names of the parameters outside the blocks.
const (
	oracleConvWeight  = "image_encoder.preprocessor.patchifier.proj.weight"
	oracleConvBias    = "image_encoder.preprocessor.patchifier.proj.bias"
	oracleConvNorm    = "image_encoder.preprocessor.patchifier.norm.weight"
	oracleImagePos    = "image_encoder.preprocessor.pos_embed"
	oracleJoinWeight  = "text_decoder.preprocessor.vision_preprocessor.module.weight"
	oracleJoinBias    = "text_decoder.preprocessor.vision_preprocessor.module.bias"
	oracleTextPos     = "text_decoder.preprocessor.text_preprocessor.positional_embedding"
	oracleCls         = "text_decoder.preprocessor.text_preprocessor.cls_token"
	oracleEmbedding   = "text_decoder.preprocessor.text_preprocessor.text_embedding.weight"
	oracleTextHead    = "text_decoder.head.blocks.0.linear.weight"
	oraclePixelHead   = "text_decoder.head.blocks.1.linear.weight"
	oracleEncoderName = "image_encoder.trunk."
	oracleDecoderName = "text_decoder.trunk."
)

// oracleShapes names every parameter and gives its shape.
func oracleShapes(c oracleConfig) map[string][]int {
	s := map[string][]int{
		oracleConvWeight: {c.width, 3, c.patch, c.patch},
		oracleConvBias:   {c.width},
		oracleConvNorm:   {c.width},
		oracleImagePos:   {1, c.tokens(), c.width},
		oracleJoinWeight: {c.decWidth, c.width},
		oracleJoinBias:   {c.decWidth},
		oracleTextPos:    {c.context + 1, c.decWidth}, // the last row is never used
		oracleCls:        {1, 1, c.decWidth},
		oracleEmbedding:  {c.vocab, c.decWidth},
		oracleTextHead:   {c.vocab, c.decWidth},
		oraclePixelHead:  {c.patchSize(), c.decWidth},
	}
	trunk := func(name string, depth, D, F int) {
		for i := range depth {
			b := fmt.Sprintf("%sblocks.%d.", name, i)
			s[b+"norm_1.weight"], s[b+"norm_2.weight"] = []int{D}, []int{D}
			s[b+"attn.qkv.weight"], s[b+"attn.proj.weight"] = []int{3 * D, D}, []int{D, D}
			s[b+"mlp.fc1.weight"], s[b+"mlp.fc3.weight"] = []int{F, D}, []int{F, D}
			s[b+"mlp.fc2.weight"] = []int{D, F}
		}
		s[name+"post_trunk_norm.weight"] = []int{D}
	}
	trunk(oracleEncoderName, c.depth, c.width, c.hidden)
	trunk(oracleDecoderName, c.decDepth, c.decWidth, c.decHidden)
	return s
}

// oracleParams draws parameters that keep every activation near 1, so that no
// path of the model is too faint to be seen in the loss: matrices N(0, 1/fan in),
// norm weights 1 + N(0, 0.3²), biases, positions and tokens N(0, 0.5²).
func oracleParams(c oracleConfig, rng *rand.Rand) map[string][]float64 {
	shapes, params := oracleShapes(c), map[string][]float64{}
	for _, name := range slices.Sorted(maps.Keys(shapes)) { // a fixed order, for the same draws
		shape, mean, std := shapes[name], 0.0, 0.5
		switch {
		case name == oracleImagePos, name == oracleTextPos, name == oracleCls, name == oracleEmbedding:
		case len(shape) > 1:
			std = 1 / math.Sqrt(float64(oracleCount(shape[1:])))
		case name != oracleConvBias && name != oracleJoinBias:
			mean, std = 1, 0.3
		}
		p := make([]float64, oracleCount(shape))
		for i := range p {
			p[i] = mean + std*rng.NormFloat64()
		}
		params[name] = p
	}
	return params
}

// oracleBatch draws B images, N(0,1), and captions. Row b has J − b mod J counted
// targets; the others are −1 and the ids there are 1, the padding.
func oracleBatch(c oracleConfig, B int, rng *rand.Rand) (images []float64, ids, targets [][]int32) {
	images = make([]float64, B*3*c.image*c.image)
	for i := range images {
		images[i] = rng.NormFloat64()
	}
	for b := range B {
		id, target := make([]int32, c.context), make([]int32, c.context)
		for j := range id {
			id[j] = rng.Int32N(int32(c.vocab))
			target[j] = id[j]
			if j >= c.context-b%c.context {
				id[j], target[j] = 1, -1
			}
		}
		ids, targets = append(ids, id), append(targets, target)
	}
	return images, ids, targets
}

func oracleCount(shape []int) int {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return n
}

// oracleLinear is y[t,o] = Σ_i x[t,i]·w[o,i] + bias[o]: x [T, I], w [O, I], bias [O] or nil, y [T, O].
func oracleLinear(x, w, bias []float64, I, O int) []float64 {
	y := make([]float64, len(x)/I*O)
	for t := range len(x) / I {
		for o := range O {
			if bias != nil {
				y[t*O+o] = bias[o]
			}
			for i := range I {
				y[t*O+o] += x[t*I+i] * w[o*I+i]
			}
		}
	}
	return y
}

// oracleLinearBackward: gx[t,i] = Σ_o gy[t,o]·w[o,i], gw[o,i] += Σ_t gy[t,o]·x[t,i],
// gbias[o] += Σ_t gy[t,o]; gbias may be nil.
func oracleLinearBackward(gy, x, w, gw, gbias []float64, I, O int) (gx []float64) {
	gx = make([]float64, len(x))
	for t := range len(x) / I {
		for o := range O {
			g := gy[t*O+o]
			for i := range I {
				gx[t*I+i] += g * w[o*I+i]
				gw[o*I+i] += g * x[t*I+i]
			}
			if gbias != nil {
				gbias[o] += g
			}
		}
	}
	return gx
}

// oracleRMSNorm is y[t,i] = x[t,i]·r[t]·w[i], r[t] = 1/√(mean_i x[t,i]² + eps): x, y [T, D], w [D].
func oracleRMSNorm(x, w []float64, eps float64) []float64 {
	D, y := len(w), make([]float64, len(x))
	for t := range len(x) / D {
		r := oracleRstd(x[t*D:(t+1)*D], eps)
		for i := range D {
			y[t*D+i] = x[t*D+i] * r * w[i]
		}
	}
	return y
}

func oracleRstd(row []float64, eps float64) float64 {
	sum := 0.0
	for _, v := range row {
		sum += v * v
	}
	return 1 / math.Sqrt(sum/float64(len(row))+eps)
}

// oracleRMSNormBackward: ∂r/∂x[k] = −r³·x[k]/D, so for each token
//
//	gx[k] = r·w[k]·gy[k] − r³·x[k]/D · Σ_i gy[i]·w[i]·x[i]
//	gw[k] += gy[k]·x[k]·r
func oracleRMSNormBackward(gy, x, w, gw []float64, eps float64) (gx []float64) {
	D := len(w)
	gx = make([]float64, len(x))
	for t := range len(x) / D {
		r := oracleRstd(x[t*D:(t+1)*D], eps)
		sum := 0.0
		for i := range D {
			sum += gy[t*D+i] * w[i] * x[t*D+i]
		}
		for i := range D {
			gx[t*D+i] = r*w[i]*gy[t*D+i] - r*r*r*x[t*D+i]/float64(D)*sum
			gw[i] += gy[t*D+i] * x[t*D+i] * r
		}
	}
	return gx
}

// oracleAttention is, for every sample b and head h,
//
//	s[i,j] = q[i]·k[j]/√dh    p[i,:] = softmax of s[i,j] over the keys j that i sees
//	o[i]   = Σ_j p[i,j]·v[j]
//
// Query i sees key j iff j ≤ i or j < prefix[b].
//
// Shapes: qkv [B, T, 3, H, dh], o [B, T, H, dh], p [B, H, T, T] with 0 where i does not see j.
func oracleAttention(qkv []float64, prefix []int, T, D, H int) (o, p []float64) {
	B, dh := len(prefix), D/H
	o, p = make([]float64, B*T*D), make([]float64, B*H*T*T)
	for bh := range B * H {
		b, h := bh/H, bh%H
		at := func(t, part int) []float64 { return qkv[((b*T+t)*3+part)*D+h*dh:][:dh] }
		for i := range T {
			q, row, sum := at(i, 0), p[(bh*T+i)*T:][:T], 0.0
			for j := range T {
				if j <= i || j < prefix[b] {
					s := 0.0
					for e, k := range at(j, 1) {
						s += q[e] * k / math.Sqrt(float64(dh))
					}
					row[j] = math.Exp(s) // s is far below 709: no shift by the maximum
					sum += row[j]
				}
			}
			for j := range T {
				row[j] /= sum
				for e, v := range at(j, 2) {
					o[(b*T+i)*D+h*dh+e] += row[j] * v
				}
			}
		}
	}
	return o, p
}

// oracleAttentionBackward: with gp[i,j] = go[i]·v[j],
//
//	gs[i,j] = p[i,j]·(gp[i,j] − Σ_m p[i,m]·gp[i,m])      0 where i does not see j
//	gq[i] = Σ_j gs[i,j]·k[j]/√dh    gk[j] = Σ_i gs[i,j]·q[i]/√dh    gv[j] = Σ_i p[i,j]·go[i]
func oracleAttentionBackward(gout, qkv, p []float64, B, T, D, H int) (gqkv []float64) {
	dh, gp := D/H, make([]float64, T)
	gqkv = make([]float64, len(qkv))
	for bh := range B * H {
		b, h := bh/H, bh%H
		at := func(x []float64, t, part int) []float64 { return x[((b*T+t)*3+part)*D+h*dh:][:dh] }
		for i := range T {
			q, gq := at(qkv, i, 0), at(gqkv, i, 0)
			row, gi, sum := p[(bh*T+i)*T:][:T], gout[(b*T+i)*D+h*dh:][:dh], 0.0
			for j := range T {
				v, gv := at(qkv, j, 2), at(gqkv, j, 2)
				gp[j] = 0
				for e := range dh {
					gp[j] += gi[e] * v[e]
					gv[e] += row[j] * gi[e]
				}
				sum += row[j] * gp[j]
			}
			for j := range T {
				k, gk := at(qkv, j, 1), at(gqkv, j, 1)
				gs := row[j] * (gp[j] - sum) / math.Sqrt(float64(dh))
				for e := range dh {
					gq[e] += gs * k[e]
					gk[e] += gs * q[e]
				}
			}
		}
	}
	return gqkv
}

// oracleTrunk is one tower: blocks, then post_trunk_norm. It keeps what backward needs.
type oracleTrunk struct {
	name          string // start of its parameter names
	T, D, H, F    int
	prefix        []int // [B]; all zero = purely causal
	eps           float64
	params, grads map[string][]float64
	blocks        []oracleBlock
	last          []float64 // [B, T, D]: output of the last block
}

// oracleBlock holds the values of one block, named as in oracleTrunk.forward.
type oracleBlock struct{ x, n1, qkv, p, o, m, n2, a, u, h []float64 }

// at is the name of a weight of block i.
func (t *oracleTrunk) at(i int, name string) string {
	return fmt.Sprintf("%sblocks.%d.%s.weight", t.name, i, name)
}

// forward runs every block and the last norm. One block is
//
//	n1 = RMSNorm1(x)   qkv = Wqkv·n1   o = Attention(qkv)   m = x + Wproj·o
//	n2 = RMSNorm2(m)   a = W1·n2   u = W3·n2   h = silu(a)·u   x ← m + W2·h
func (t *oracleTrunk) forward(x []float64) []float64 {
	D, F := t.D, t.F
	for i := range t.blocks {
		w := func(name string) []float64 { return t.params[t.at(i, name)] }
		s := &t.blocks[i]
		s.x = x
		s.n1 = oracleRMSNorm(s.x, w("norm_1"), t.eps)
		s.qkv = oracleLinear(s.n1, w("attn.qkv"), nil, D, 3*D)
		s.o, s.p = oracleAttention(s.qkv, t.prefix, t.T, D, t.H)
		s.m = oracleSum(s.x, oracleLinear(s.o, w("attn.proj"), nil, D, D))
		s.n2 = oracleRMSNorm(s.m, w("norm_2"), t.eps)
		s.a = oracleLinear(s.n2, w("mlp.fc1"), nil, D, F)
		s.u = oracleLinear(s.n2, w("mlp.fc3"), nil, D, F)
		s.h = make([]float64, len(s.a))
		for e, a := range s.a {
			s.h[e] = a / (1 + math.Exp(-a)) * s.u[e]
		}
		x = oracleSum(s.m, oracleLinear(s.h, w("mlp.fc2"), nil, F, D))
	}
	t.last = x
	return oracleRMSNorm(x, t.params[t.name+"post_trunk_norm.weight"], t.eps)
}

// backward walks forward from its end to its start. With σ = 1/(1+e^−a),
//
//	silu(a) = a·σ    silu′(a) = σ·(1 + a·(1−σ))    ga = gh·u·silu′(a)    gu = gh·silu(a)
//
// x and m feed two terms each, so their cotangents are sums of two.
func (t *oracleTrunk) backward(gy []float64) (gx []float64) {
	D, F := t.D, t.F
	norm := t.name + "post_trunk_norm.weight"
	gx = oracleRMSNormBackward(gy, t.last, t.params[norm], t.grads[norm], t.eps)
	for i := len(t.blocks) - 1; i >= 0; i-- {
		linear := func(name string, gy, x []float64, I, O int) (gx []float64) {
			name = t.at(i, name)
			return oracleLinearBackward(gy, x, t.params[name], t.grads[name], nil, I, O)
		}
		norm := func(name string, gy, x []float64) (gx []float64) {
			name = t.at(i, name)
			return oracleRMSNormBackward(gy, x, t.params[name], t.grads[name], t.eps)
		}
		s := &t.blocks[i]
		gh := linear("mlp.fc2", gx, s.h, F, D)
		ga, gu := make([]float64, len(gh)), make([]float64, len(gh))
		for e, a := range s.a {
			sigma := 1 / (1 + math.Exp(-a))
			ga[e] = gh[e] * s.u[e] * sigma * (1 + a*(1-sigma))
			gu[e] = gh[e] * a * sigma
		}
		gn2 := oracleSum(linear("mlp.fc1", ga, s.n2, D, F), linear("mlp.fc3", gu, s.n2, D, F))
		gm := oracleSum(gx, norm("norm_2", gn2, s.m))
		gqkv := oracleAttentionBackward(linear("attn.proj", gm, s.o, D, D), s.qkv, s.p, len(t.prefix), t.T, D, t.H)
		gx = oracleSum(gm, norm("norm_1", linear("attn.qkv", gqkv, s.n1, D, 3*D), s.x))
	}
	return gx
}

func oracleSum(a, b []float64) []float64 {
	y := make([]float64, len(a))
	for i := range y {
		y[i] = a[i] + b[i]
	}
	return y
}

// oraclePixel is the index in images [B, 3, S, S] of channel ch, row r and
// column s of patch k of sample b; patches are counted in raster order.
func oraclePixel(c oracleConfig, b, k, ch, r, s int) int {
	y, x := k/c.grid()*c.patch+r, k%c.grid()*c.patch+s
	return ((b*3+ch)*c.image+y)*c.image + x
}

// oraclePatches copies the images to [B, N, E] with the order (channel, row,
// column) in a patch: the convolution is then a linear map with w [D, E].
func oraclePatches(c oracleConfig, images []float64, B int) []float64 {
	N, E, P := c.tokens(), c.patchSize(), c.patch
	patches := make([]float64, B*N*E)
	for i := range patches {
		b, k, e := i/E/N, i/E%N, i%E
		patches[i] = images[oraclePixel(c, b, k, e/P/P, e/P%P, e%P)]
	}
	return patches
}

// oracleTarget is patch k of sample b, standardised: (x−mean)/√(var+1e-6), where
// var = Σ(x−mean)²/(E−1). The order in a patch is (row, column, channel).
func oracleTarget(c oracleConfig, images []float64, b, k int) []float64 {
	E, P, mean, variance := c.patchSize(), c.patch, 0.0, 0.0
	x := make([]float64, E)
	for e := range x {
		x[e] = images[oraclePixel(c, b, k, e%3, e/3/P, e/3%P)]
		mean += x[e] / float64(E)
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(E-1)
	}
	for e := range x {
		x[e] = (x[e] - mean) / math.Sqrt(variance+1e-6)
	}
	return x
}

// oraclePixelLoss is Σ over counted patches k of mean_e (pixels[b,k−1,e] − target[b,k,e])²,
// divided by their number in the batch. Patch k counts iff 1 ≤ k < N and k ≥ prefix[b].
// The loss is 0 if no patch counts.
//
//	gpixels[b,k−1,e] = 0.4·2·(pixels − target)/(E·count)      0.4: of the whole loss
func oraclePixelLoss(c oracleConfig, pixels, images []float64, prefix []int) (loss float64, gpixels []float64) {
	N, E := c.tokens(), c.patchSize()
	gpixels = make([]float64, len(pixels))
	count := 0
	for b := range prefix {
		count += N - min(max(prefix[b], 1), N)
	}
	for b := range prefix {
		for k := max(prefix[b], 1); k < N; k++ {
			target := oracleTarget(c, images, b, k)
			for e := range E {
				at := (b*N+k-1)*E + e
				diff := pixels[at] - target[e]
				loss += diff * diff / float64(E*count)
				gpixels[at] = oraclePixelWeight * 2 * diff / float64(E*count)
			}
		}
	}
	return loss, gpixels
}

// oracleTextLoss is the mean over all targets ≥ 0 of log Σ_v e^logits[v] − logits[target];
// 0 if there are none.
//
//	glogits[v] = 1.0·(softmax(logits)[v] − [v = target])/count      1.0: of the whole loss
func oracleTextLoss(logits []float64, targets [][]int32, V int) (loss float64, glogits []float64) {
	glogits = make([]float64, len(logits))
	flat, count := slices.Concat(targets...), 0
	for _, id := range flat {
		if id >= 0 {
			count++
		}
	}
	for i, id := range flat {
		if id < 0 {
			continue
		}
		l, g := logits[i*V:][:V], glogits[i*V:][:V]
		high, sum := slices.Max(l), 0.0
		for _, v := range l {
			sum += math.Exp(v - high)
		}
		loss += (high + math.Log(sum) - l[id]) / float64(count)
		for v := range g {
			g[v] = oracleTextWeight * math.Exp(l[v]-high) / sum / float64(count)
		}
		g[id] -= oracleTextWeight / float64(count)
	}
	return loss, glogits
}

// oracle runs the model forward and backward on one batch.
//
// Shapes: params as oracleShapes; images [B, 3, S, S], normalised; ids, targets
// [B][J], padded, target −1 = not counted; prefix [B].
//
//	encoder   e = trunk(RMSNorm(conv(image)) + pos_embed), prefix mask
//	decoder   x = [Wjoin·e + bias | cls, embedding[ids[0]], …, embedding[ids[J−2]]]
//	          + positional_embedding on the text; trunk(x), causal
//	heads     pixels from the N image positions, logits from the J text positions
//
// Panics: if a parameter is missing, unknown or of a wrong length.
func oracle(c oracleConfig, params map[string][]float64, images []float64, ids, targets [][]int32, prefix []int) oracleResult {
	B, N, J, V, E, D, Dd := len(prefix), c.tokens(), c.context, c.vocab, c.patchSize(), c.width, c.decWidth
	grads := oracleGrads(c, params)

	// Encoder: conv and x are [B, N, D].
	patches := oraclePatches(c, images, B)
	conv := oracleLinear(patches, params[oracleConvWeight], params[oracleConvBias], E, D)
	x := oracleRMSNorm(conv, params[oracleConvNorm], c.eps)
	for i := range x {
		x[i] += params[oracleImagePos][i%(N*D)]
	}
	encoder := oracleTrunk{name: oracleEncoderName, T: N, D: D, H: c.heads, F: c.hidden, prefix: prefix,
		eps: c.eps, params: params, grads: grads, blocks: make([]oracleBlock, c.depth)}
	features := encoder.forward(x)

	// Decoder input. token is the tensor and the place in it that element i of text [B, J, Dd] reads.
	token := func(i int) (name string, at int) {
		b, j, d := i/Dd/J, i/Dd%J, i%Dd
		if j == 0 {
			return oracleCls, d
		}
		return oracleEmbedding, int(ids[b][j-1])*Dd + d
	}
	joined := oracleLinear(features, params[oracleJoinWeight], params[oracleJoinBias], D, Dd)
	text := make([]float64, B*J*Dd)
	for i := range text {
		name, at := token(i)
		text[i] = params[name][at] + params[oracleTextPos][i%(J*Dd)]
	}
	decoder := oracleTrunk{name: oracleDecoderName, T: N + J, D: Dd, H: c.decHeads, F: c.decHidden, prefix: make([]int, B),
		eps: c.eps, params: params, grads: grads, blocks: make([]oracleBlock, c.decDepth)}
	outImage, outText := oracleSplit(decoder.forward(oracleJoin(joined, text, B)), B, N*Dd)

	// Heads and losses.
	pixels := oracleLinear(outImage, params[oraclePixelHead], nil, Dd, E)
	logits := oracleLinear(outText, params[oracleTextHead], nil, Dd, V)
	pixelLoss, gpixels := oraclePixelLoss(c, pixels, images, prefix)
	textLoss, glogits := oracleTextLoss(logits, targets, V)

	// Backward, from the loss to the images, in the reverse order.
	goutImage := oracleLinearBackward(gpixels, outImage, params[oraclePixelHead], grads[oraclePixelHead], nil, Dd, E)
	goutText := oracleLinearBackward(glogits, outText, params[oracleTextHead], grads[oracleTextHead], nil, Dd, V)
	gjoined, gtext := oracleSplit(decoder.backward(oracleJoin(goutImage, goutText, B)), B, N*Dd)
	for i, g := range gtext {
		name, at := token(i)
		grads[name][at] += g
		grads[oracleTextPos][i%(J*Dd)] += g
	}
	gfeatures := oracleLinearBackward(gjoined, features, params[oracleJoinWeight], grads[oracleJoinWeight], grads[oracleJoinBias], D, Dd)
	gx := encoder.backward(gfeatures)
	for i := range gx {
		grads[oracleImagePos][i%(N*D)] += gx[i]
	}
	gconv := oracleRMSNormBackward(gx, conv, params[oracleConvNorm], grads[oracleConvNorm], c.eps)
	oracleLinearBackward(gconv, patches, params[oracleConvWeight], grads[oracleConvWeight], grads[oracleConvBias], E, D)

	loss := oraclePixelWeight*pixelLoss + oracleTextWeight*textLoss
	return oracleResult{features, logits, pixels, pixelLoss, textLoss, loss, grads}
}

// oracleGrads checks the parameters against oracleShapes and makes their zero gradients.
func oracleGrads(c oracleConfig, params map[string][]float64) map[string][]float64 {
	shapes, grads := oracleShapes(c), map[string][]float64{}
	for name, shape := range shapes {
		if n := oracleCount(shape); len(params[name]) != n {
			panic(fmt.Sprintf("oracle: %s has %d elements, shape %v needs %d", name, len(params[name]), shape, n))
		}
		grads[name] = make([]float64, len(params[name]))
	}
	if len(params) != len(shapes) {
		panic(fmt.Sprintf("oracle: %d parameters, the model has %d", len(params), len(shapes)))
	}
	return grads
}

// oracleJoin puts image [B, N, D] and text [B, J, D] together: [B, N+J, D], image first.
func oracleJoin(image, text []float64, B int) (x []float64) {
	n, j := len(image)/B, len(text)/B
	for b := range B {
		x = append(append(x, image[b*n:(b+1)*n]...), text[b*j:(b+1)*j]...)
	}
	return x
}

// oracleSplit undoes oracleJoin; n = N·D.
func oracleSplit(x []float64, B, n int) (image, text []float64) {
	for b := range B {
		row := x[b*len(x)/B : (b+1)*len(x)/B]
		image, text = append(image, row[:n]...), append(text, row[n:]...)
	}
	return image, text
}

var oracleTiny = oracleConfig{
	image: 6, patch: 2, vocab: 11, context: 4, eps: 1e-5,
	width: 12, depth: 2, heads: 2, hidden: 7,
	decWidth: 8, decDepth: 2, decHeads: 2, decHidden: 5,
}

// TestOracle proves the oracle: its gradients by central differences, its layouts
// and masks by numbers worked out by hand and by what may not depend on what.
func TestOracle(t *testing.T) {
	t.Run("Gradients", testOracleGradients)
	t.Run("Patches", testOraclePatches)
	t.Run("Attention", testOracleAttention)
	t.Run("Block", testOracleBlock)
	t.Run("Losses", testOracleLosses)
	t.Run("Dependence", testOracleDependence)
}

// testOracleGradients compares ⟨grad, v⟩ with the derivative of the loss along v,
// for directions v over all parameters, over one tensor, and over one element.
//
// The difference (8·(f(h)−f(−h)) − (f(2h)−f(−2h)))/12h has an error ~h⁴ from
// truncation and ~1e-16/h from rounding: both below 1e-11 at h = 3e-4.
func testOracleGradients(t *testing.T) {
	const h = 3e-4
	c, rng := oracleTiny, rand.New(rand.NewPCG(1, 2))
	params, prefix := oracleParams(c, rng), []int{1, 4, 8}
	images, ids, targets := oracleBatch(c, len(prefix), rng)
	grads := oracle(c, params, images, ids, targets, prefix).grads
	names, worst := slices.Sorted(maps.Keys(params)), 0.0
	check := func(what string, v map[string][]float64) {
		along := func(step float64) float64 { // the loss at params + step·v
			moved := maps.Clone(params)
			for name := range v {
				moved[name] = slices.Clone(params[name])
				for i := range v[name] {
					moved[name][i] += step * v[name][i]
				}
			}
			return oracle(c, moved, images, ids, targets, prefix).loss
		}
		got, want := 0.0, (8*(along(h)-along(-h))-(along(2*h)-along(-2*h)))/(12*h)
		for name := range v {
			for i, g := range grads[name] {
				got += g * v[name][i]
			}
		}
		relative := math.Abs(got-want) / max(math.Abs(want), 1e-3)
		worst = max(worst, relative)
		if !(relative <= 1e-8) {
			t.Errorf("%s: gradient gives %.12g, central difference %.12g", what, got, want)
		}
	}

	// direction has length 1 and the same share of it, with random signs, in each named tensor.
	direction := func(names ...string) map[string][]float64 {
		v := map[string][]float64{}
		for _, name := range names {
			v[name] = make([]float64, len(params[name]))
			for i := range v[name] {
				v[name][i] = float64(2*rng.IntN(2)-1) / math.Sqrt(float64(len(v[name])*len(names)))
			}
		}
		return v
	}
	for _, name := range names {
		check("all parameters", direction(names...))
		check(name, direction(name))
		for range 4 {
			i, v := rng.IntN(len(params[name])), make([]float64, len(params[name]))
			v[i] = 1
			check(fmt.Sprintf("%s[%d]", name, i), map[string][]float64{name: v})
		}
	}
	t.Logf("largest relative error %.1e", worst)
}

// testOraclePatches: in a 4×4 image with value 100·channel + 10·y + x, patch 1
// (upper right) has rows 0, 1 and columns 2, 3.
func testOraclePatches(t *testing.T) {
	c := oracleConfig{image: 4, patch: 2}
	images := make([]float64, 3*4*4)
	for i := range images {
		images[i] = float64(100*(i/16) + 10*(i/4%4) + i%4)
	}
	raw := []float64{2, 102, 202, 3, 103, 203, 12, 112, 212, 13, 113, 213} // mean 107.5
	target, squares := oracleTarget(c, images, 0, 1), 0.0
	for i, x := range target {
		oracleNear(t, fmt.Sprint("target ", i), x/target[0], (raw[i]-107.5)/(2-107.5), 1e-12) // needs no variance
		squares += x * x
	}
	oracleNear(t, "squares", squares, 11, 1e-6) // E−1 as var is unbiased, less its 1e-6

	// Element 9 of the convolution's order (channel, row, column) is (2, 0, 1).
	for k, want := range []float64{201, 203, 221, 223} {
		oracleNear(t, fmt.Sprint("patch ", k), oraclePatches(c, images, 1)[k*12+9], want, 0)
	}
	oracleNear(t, "constant patch", oracleTarget(c, make([]float64, 3*4*4), 0, 0)[5], 0, 0)
}

// testOracleAttention: two tokens, two heads of size 2. Token 1 weighs the keys
// 1:1 in head 0 and, as its scores there are 0 and ln 3, 1:3 in head 1.
func testOracleAttention(t *testing.T) {
	qkv := []float64{
		0, 0, 0, 0 /* k */, 1, 2, 0, 9 /* v */, 0, 0, 0, 0,
		0, 0, math.Sqrt2 * math.Log(3), 0 /* k */, 3, 4, 1, 9 /* v */, 4, 8, 4, 8,
	}
	causal, _ := oracleAttention(qkv, []int{1}, 2, 4, 2) // token 0 sees itself only
	full, _ := oracleAttention(qkv, []int{2}, 2, 4, 2)
	for i, want := range []float64{2, 4, 2, 4, 2, 4, 3, 6} {
		oracleNear(t, fmt.Sprint("prefix 2, element ", i), full[i], want, 1e-12)
		oracleNear(t, fmt.Sprint("prefix 1, element ", i), causal[i], []float64{0, want}[i/4], 1e-12)
	}

	// The mask with prefix 3: rows i, keys j.
	_, p := oracleAttention(make([]float64, 5*3), []int{3}, 5, 1, 1)
	for i, want := range "11100" + "11100" + "11100" + "11110" + "11111" {
		if (p[i] > 0) != (want == '1') {
			t.Errorf("query %d, key %d: weight %g, mask %c", i/5, i%5, p[i], want)
		}
	}
}

// testOracleBlock: one token x = (0, 4), normed with eps = 1: (0, 4/3). Attention adds
// v = (3, 0). m = (3, 4) is normed by 1/√13.5; fc1 gives a = ln 3, so silu(a) = ¾·ln 3;
// fc3 gives u = 2; fc2 adds (−3, 0). The last norm makes (0, 4/3), times its weight 6.
func testOracleBlock(t *testing.T) {
	rms, ln3 := math.Sqrt(13.5), math.Log(3)
	trunk := oracleTrunk{T: 1, D: 2, H: 1, F: 1, eps: 1, prefix: []int{0}, blocks: make([]oracleBlock, 1), params: map[string][]float64{
		"blocks.0.norm_1.weight":    {1, 1},
		"blocks.0.attn.qkv.weight":  {7, 7, 7, 7 /* k */, 7, 7, 7, 7 /* v */, 0, 9.0 / 4, 0, 0},
		"blocks.0.attn.proj.weight": {1, 0, 0, 1},
		"blocks.0.norm_2.weight":    {2, 1},
		"blocks.0.mlp.fc1.weight":   {rms / 6 * ln3, 0},
		"blocks.0.mlp.fc3.weight":   {0, rms / 2},
		"blocks.0.mlp.fc2.weight":   {-2 / ln3, 0},
		"post_trunk_norm.weight":    {1, 6},
	}}
	y := trunk.forward([]float64{0, 4})
	oracleNear(t, "y[0]", y[0], 0, 1e-12)
	oracleNear(t, "y[1]", y[1], 8, 1e-12)
}

// testOracleLosses: with zero heads the text loss is ln V and the pixel loss that of
// the targets alone, (E−1)/E less var's 1e-6. One row of predictions set to 1 then adds
// mean (1−target)² − mean target² = 1 over the count of 14 (patches 1…8, 4…8 and 8),
// if position k−1 predicts a patch k that counts.
func testOracleLosses(t *testing.T) {
	c, rng := oracleTiny, rand.New(rand.NewPCG(3, 4))
	N, E, prefix := c.tokens(), c.patchSize(), []int{1, 4, 8}
	params := oracleParams(c, rng)
	clear(params[oracleTextHead])
	clear(params[oraclePixelHead])
	images, ids, targets := oracleBatch(c, len(prefix), rng)
	y := oracle(c, params, images, ids, targets, prefix)
	oracleNear(t, "text loss", y.textLoss, math.Log(11), 1e-12)
	oracleNear(t, "pixel loss", y.pixelLoss, 11.0/12, 1e-5)
	oracleNear(t, "loss", y.loss, 0.4*y.pixelLoss+y.textLoss, 1e-12)
	for i := range len(prefix) * N {
		want := y.pixelLoss
		if k := i%N + 1; k >= prefix[i/N] && k < N {
			want += 1.0 / 14
		}
		pixels := make([]float64, len(y.pixels))
		for e := range E {
			pixels[i*E+e] = 1
		}
		got, _ := oraclePixelLoss(c, pixels, images, prefix)
		oracleNear(t, fmt.Sprintf("pixel loss with sample %d, position %d", i/N, i%N), got, want, 1e-12)
	}

	// Row 0 is (ln 2, 0, 0), target 0: −ln(2/4); row 1 is not counted; row 2 is flat: ln 3.
	got, _ := oracleTextLoss([]float64{math.Ln2, 0, 0, 7, 8, 9, 0, 0, 0}, [][]int32{{0, -1, 2}}, 3)
	oracleNear(t, "text loss", got, (math.Log(2)+math.Log(3))/2, 1e-12)
}

// testOracleDependence changes one patch or one id and looks which rows of the outputs
// move; once more without attention in the encoder, so that only the decoder mixes patches.
func testOracleDependence(t *testing.T) {
	c, rng := oracleTiny, rand.New(rand.NewPCG(5, 6))
	N, J, prefix := c.tokens(), c.context, []int{4}
	params := oracleParams(c, rng)
	images, ids, targets := oracleBatch(c, 1, rng)
	for _, mixing := range []bool{true, false} {
		for i := 0; i < c.depth && !mixing; i++ {
			clear(params[fmt.Sprintf("%sblocks.%d.attn.proj.weight", oracleEncoderName, i)])
		}
		x := oracle(c, params, images, ids, targets, prefix)
		check := func(what string, x, y []float64, rows int, want func(row int) bool) {
			size := len(x) / rows
			for i := range rows {
				if moved := !slices.Equal(x[i*size:][:size], y[i*size:][:size]); moved != want(i) {
					t.Errorf("%s, encoder attention %t: moves row %d: %t, want %t", what, mixing, i, moved, want(i))
				}
			}
		}
		for k := range N {
			changed := slices.Clone(images)
			changed[oraclePixel(c, 0, k, 1, 1, 0)] += 0.5
			y := oracle(c, params, changed, ids, targets, prefix)
			check(fmt.Sprint("features, patch ", k), x.features, y.features, N, func(i int) bool { return i == k || mixing && (i > k || k < prefix[0]) })
			check(fmt.Sprint("pixels, patch ", k), x.pixels, y.pixels, N, func(i int) bool { return i >= k || mixing && k < prefix[0] })
			check(fmt.Sprint("logits, patch ", k), x.logits, y.logits, J, func(int) bool { return true })
		}
		for j := range J {
			changed := slices.Clone(ids[0])
			changed[j] = (changed[j] + 1) % int32(c.vocab)
			y := oracle(c, params, images, [][]int32{changed}, targets, prefix)
			check(fmt.Sprint("pixels, id ", j), x.pixels, y.pixels, N, func(int) bool { return false })
			check(fmt.Sprint("logits, id ", j), x.logits, y.logits, J, func(i int) bool { return i > j })
		}
	}
}

func oracleNear(t *testing.T, what string, got, want, bound float64) {
	t.Helper()
	if !(math.Abs(got-want) <= bound) {
		t.Errorf("%s is %.15g, want %.15g", what, got, want)
	}
}
