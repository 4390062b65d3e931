package main

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
)

// node has the kinds of pointers that the collector follows.
type node struct {
	left, right *node
	value       int
	shared      []*int
	named       map[int]*node
}

func tree(depth int, r *rand.Rand) *node {
	if depth == 0 {
		return nil
	}
	n := &node{left: tree(depth-1, r), right: tree(depth-1, r), value: r.IntN(1000)}
	for range r.IntN(6) {
		v := r.IntN(1000)
		n.shared = append(n.shared, &v)
	}
	if depth%5 == 0 {
		n.named = map[int]*node{1: n.left, 2: n.right}
	}
	return n
}

func (n *node) sum() int {
	if n == nil {
		return 0
	}
	total := n.value + n.left.sum() + n.right.sum()
	for _, v := range n.shared {
		total += *v
	}
	for _, m := range n.named {
		if m != nil {
			total += m.value
		}
	}
	return total
}

// stress collects garbage beside a tree that lives and compares its sum. The
// collector scans by AVX-512 where the CPU has GFNI and VBMI: on an emulator that
// gets one of those instructions wrong, it frees what lives. Most of such errors
// end the process with a message of the runtime.
func stress() error {
	debug.SetGCPercent(20)
	live := tree(13, rand.New(rand.NewPCG(1, 1)))
	want := live.sum()
	for i := range 30 {
		junk := tree(9+i%3, rand.New(rand.NewPCG(2, uint64(i))))
		runtime.GC()
		if live.sum() != want {
			return errors.New("the heap is corrupted")
		}
		runtime.KeepAlive(junk)
	}
	return nil
}
