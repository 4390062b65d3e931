package main

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// small has a line of -shapes for each form that an op has.
var small = map[string][]string{
	"attention": {
		"forward none 1 2 60 64", "forward causal 2 3 37 16", "forward prefix 2 1 33 8",
		"backward none 2 2 36 8", "backward causal 1 2 61 16", "backward prefix 3 1 40 64",
	},
	"norm": {
		"rmsnorm forward 70 33", "rmsnorm backward 70 33", "layernorm forward 70 33", "layernorm backward 70 33",
		"softmax forward 41 77", "softmax backward 41 77", "swiglu forward 30 50", "swiglu backward 30 50",
		"gelu forward 30 50", "gelu backward 30 50", "add forward 30 50",
	},
	"loss":  {"10 16 100", "1 7 3"},
	"adamw": {"16 2 32"},
	"step":  {"24 12 16 2 2 24 16 1 2 24 40 5 3"},
	"infer": {"24 12 16 2 2 24 3"},
}

// TestOps: our answer about every op is what the verifier expects, also after
// calls that were timed, and it notices when any value is off.
func TestOps(t *testing.T) {
	for _, op := range operations {
		if op.name != "gemm" && len(small[op.name]) == 0 {
			t.Errorf("%s has no test", op.name)
		}
		for _, line := range small[op.name] {
			r, err := op.parse(line)
			if err != nil {
				t.Fatal(err)
			}
			if r.args != line {
				t.Errorf("%s %s becomes %s", op.name, line, r.args)
			}
			p, err := op.serve(r.args)
			if err != nil {
				t.Fatal(err)
			}
			verify := r.verifier()
			right := p.check()
			if err := verify(right); err != nil {
				t.Errorf("%s %s: %v", op.name, line, err)
				continue
			}
			p.run()
			p.run()
			if err := verify(p.check()); err != nil {
				t.Errorf("%s %s, after calls: %v", op.name, line, err)
			}
			scale := 0.0
			for _, v := range right {
				scale = max(scale, math.Abs(v))
			}
			for i := range right {
				wrong := slices.Clone(right)
				wrong[i] += 0.01 * scale
				if verify(wrong) == nil {
					t.Errorf("%s %s: value %d may be off by %g", op.name, line, i, 0.01*scale)
				}
			}
			wrong := slices.Clone(right)
			if wrong[len(wrong)-1] = math.NaN(); verify(wrong) == nil {
				t.Errorf("%s %s: NaN is right", op.name, line)
			}
			if verify(right[1:]) == nil {
				t.Errorf("%s %s: an answer may be short", op.name, line)
			}
		}
	}
}

// TestOpsDiffer: an answer about another pass, mask or formula is wrong.
func TestOpsDiffer(t *testing.T) {
	for _, c := range []struct{ op, asked, done string }{
		{"attention", "forward none 2 2 40 16", "forward causal 2 2 40 16"},
		{"attention", "forward prefix 2 2 40 16", "forward causal 2 2 40 16"},
		{"attention", "backward prefix 2 2 40 16", "backward causal 2 2 40 16"},
		{"norm", "rmsnorm forward 40 30", "layernorm forward 40 30"},
		{"norm", "gelu forward 40 30", "add forward 40 30"},
		{"loss", "10 16 100", "10 16 101"},
		{"adamw", "16 2 32", "16 3 32"},
	} {
		op, err := findOp(c.op)
		if err != nil {
			t.Fatal(err)
		}
		r, err := op.parse(c.asked)
		if err != nil {
			t.Fatal(err)
		}
		p, err := op.serve(c.done)
		if err != nil {
			t.Fatal(err)
		}
		if r.verifier()(p.check()) == nil {
			t.Errorf("%s: %s passes for %s", c.op, c.done, c.asked)
		}
	}
}

// TestTables: every row of every table can be asked for by its own arguments, and
// counts something.
func TestTables(t *testing.T) {
	for _, op := range operations {
		for _, quick := range []bool{false, true} {
			rows := op.rows(quick)
			if len(rows) == 0 {
				t.Errorf("%s has no rows", op.name)
			}
			seen := map[string]bool{}
			for _, r := range rows {
				again, err := op.parse(r.args)
				if err != nil {
					t.Errorf("%s: %v", op.name, err)
				}
				if again.args != r.args || again.flop != r.flop || again.bytes != r.bytes || again.images != r.images {
					t.Errorf("%s %s is read as %+v", op.name, r.args, again)
				}
				m := &measurement{FLOP: r.flop, Bytes: r.bytes, Images: r.images}
				if seen[r.args] || !(op.unit.amount(m) > 0) || !(op.unit.work(m) > 0) {
					t.Errorf("%s %s stands twice or counts nothing", op.name, r.args)
				}
				seen[r.args] = true
			}
		}
	}
}

// TestParseOps: what no operands can be made for is refused.
func TestParseOps(t *testing.T) {
	for op, lines := range map[string]map[string]string{
		"attention": {
			"forward none 1 1 1": "is not PASS MASK B H T D", "sideways none 1 1 1 1": "does not begin with",
			"forward some 1 1 1 1": "does not begin with", "forward none 1 0 1 1": `H "0" is not a number`,
			"forward none 65536 65536 1 1": "above 2³⁰",
		},
		"norm":  {"rmsnorm forward 1": "is not NAME PASS N D", "add backward 1 1": "there is no add backward", "relu forward 1 1": "there is no relu", "add forward 1 x": `D "x" is not`, "add forward 65536 65536": "above 2³⁰"},
		"loss":  {"1 2": "is not ROWS WIDTH VOCAB", "1 2 99999999": `VOCAB "99999999" is not`, "1 65536 65536": "above 2³⁰"},
		"adamw": {"16 2": "is not WIDTH", "16384 16384 16384": "above 2³⁰"},
		"step":  {"24 12 16 2 2 24 16 1 2 24 40 5": "is not IMAGE", "24 13 16 2 2 24 16 1 2 24 40 5 3": "do not divide", "24 12 16 2 3 24 16 1 2 24 40 5 3": "3 heads"},
		"infer": {"24 12 16 2 2 24": "is not IMAGE", "24 12 16 2 3 24 1": "3 heads"},
	} {
		o, err := findOp(op)
		if err != nil {
			t.Fatal(err)
		}
		for line, want := range lines {
			if _, err := o.parse(line); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s %s: %v, want %q", op, line, err, want)
			}
			if _, err := o.serve(line); err == nil {
				t.Errorf("%s %s is served", op, line)
			}
		}
	}
}
