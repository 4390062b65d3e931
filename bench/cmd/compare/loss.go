package main

import (
	"fmt"
	"math"
	"slices"

	"fuerte/autograd"
	"fuerte/bench/internal/shapes"
	"fuerte/tensor"
)

var lossOp = define(operation{name: "loss", unit: flopRate, limit: compiling},
	shapes.LossTable, parseLoss, lossRow, lossProblem)

func lossRow(l shapes.Loss) row {
	return row{
		role: "head and cross-entropy", shape: l.String(), flop: l.FLOP(),
		args:     fmt.Sprintf("%d %d %d", l.Rows, l.Width, l.Vocab),
		verifier: func() func([]float64) error { return verifyLoss(l) },
	}
}

// parseLoss reads ROWS WIDTH VOCAB.
func parseLoss(line string) (l shapes.Loss, err error) {
	n, err := numbers(line, "ROWS WIDTH VOCAB", 1<<24)
	if err != nil {
		return l, err
	}
	l = shapes.Loss{Rows: n[0], Width: n[1], Vocab: n[2]}
	for _, s := range [][2]int{{l.Rows, l.Width}, {l.Vocab, l.Width}, {l.Rows, l.Vocab}} {
		if err := bounded(line, s[0], s[1]); err != nil {
			return l, err
		}
	}
	return l, nil
}

// lossTarget is the id that a row has to predict.
func lossTarget(l shapes.Loss, row int) int32 { return int32(hash(8, row) % uint32(l.Vocab)) }

// counted are the rows of which a check has the loss: to verify one in float64
// takes a product with the whole vocabulary.
func counted(l shapes.Loss) []int {
	var rows []int
	for e := range 4 {
		if r := element(e, l.Rows); !slices.Contains(rows, r) {
			rows = append(rows, r)
		}
	}
	return rows
}

// vocabularyLoss is Σ_i weight_i·(ln Σ_v e^l_iv − l_i,target_i), l = x·Wᵀ: the way
// in which the model computes its text loss.
func vocabularyLoss(x, w, target, weight *autograd.Var) *autograd.Var {
	return autograd.LinearCrossEntropy(x, w, target, weight)
}

// lossProblem holds our call, forward and backward to x [ROWS, WIDTH] and
// W [VOCAB, WIDTH].
func lossProblem(l shapes.Loss) (problem, error) {
	x := autograd.Param(tensor.From(tensor.CPU, filled(l.Rows*l.Width, seedX, 0, 1), l.Rows, l.Width))
	w := autograd.Param(tensor.From(tensor.CPU, filled(l.Vocab*l.Width, seedWeight, 0, 0.1), l.Vocab, l.Width))
	all, some := make([]int32, l.Rows), make([]int32, l.Rows)
	weights, few := make([]float32, l.Rows), make([]float32, l.Rows)
	for i := range all {
		all[i], some[i], weights[i] = lossTarget(l, i), -1, 1/float32(l.Rows)
	}
	for _, i := range counted(l) {
		some[i], few[i] = all[i], 1/float32(len(counted(l)))
	}
	tape := autograd.NewTape()
	inputs := func(targets []int32, weights []float32) func() float64 {
		target, weight := tensor.From(tensor.CPU, targets, l.Rows), tensor.From(tensor.CPU, weights, l.Rows)
		return func() float64 {
			x.ZeroGrad()
			w.ZeroGrad()
			on := tape.Input(weight)
			loss := vocabularyLoss(on.Watch(x), w, tape.Input(target), on)
			value := loss.Value.Item()
			tape.Backward(loss)
			loss.Value.Release()
			return value
		}
	}
	run := inputs(all, weights)
	return problem{
		run: func() { run() },
		check: func() []float64 {
			values := []float64{inputs(some, few)()}
			values = append(values, combine(tensor.Data[float32](x.Grad))...)
			return append(values, combine(tensor.Data[float32](w.Grad))...)
		},
	}, nil
}

// verifyLoss compares the mean loss of the counted rows and its gradients with
// the formulas in float64.
func verifyLoss(l shapes.Loss) func([]float64) error {
	rows := counted(l)
	share := 1 / float64(len(rows))
	weight := filled(l.Vocab*l.Width, seedWeight, 0, 0.1)
	loss := 0.0
	gx := make([]float64, l.Rows*l.Width)
	logits := make([][]float64, len(rows)) // then their gradients
	xs := make([][]float64, len(rows))
	for n, r := range rows {
		x, g := make([]float64, l.Width), make([]float64, l.Vocab)
		for d := range x {
			x[d] = float64(periodic(seedX, r*l.Width+d))
		}
		most := math.Inf(-1)
		for v := range g {
			for d, w := range weight[v*l.Width : (v+1)*l.Width] {
				g[v] += x[d] * float64(w)
			}
			most = max(most, g[v])
		}
		sum := 0.0
		for _, s := range g {
			sum += math.Exp(s - most)
		}
		target := lossTarget(l, r)
		loss += share * (most + math.Log(sum) - g[target])
		for v := range g {
			g[v] = share * math.Exp(g[v]-most) / sum
		}
		g[target] -= share
		for v := range g {
			for d, w := range weight[v*l.Width : (v+1)*l.Width] {
				gx[r*l.Width+d] += g[v] * float64(w)
			}
		}
		xs[n], logits[n] = x, g
	}
	grads := expect(2e-5, array("gx", gx), output{"gw", l.Vocab * l.Width, func(i int) float64 {
		sum := 0.0
		for n := range rows {
			sum += logits[n][i/l.Width] * xs[n][i%l.Width]
		}
		return sum
	}})
	return func(got []float64) error {
		if len(got) == 0 {
			return fmt.Errorf("the answer is empty")
		}
		if err := within(got[:1], []float64{loss}, []float64{1e-5 * loss}, []string{"the loss"}); err != nil {
			return err
		}
		return grads(got[1:])
	}
}
