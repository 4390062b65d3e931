package tensor

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"fuerte/kernels"
)

func TestSizeClass(t *testing.T) {
	last := 0
	for n := range 1 << 14 {
		class, size := sizeClass(n)
		if size < n || size%(cacheLine/2) != 0 || class < last {
			t.Fatalf("%d bytes: class %d of %d bytes", n, class, size)
		}
		if n > cacheLine && 3*(size-n) > size {
			t.Errorf("%d bytes: more than a third of %d is slack", n, size)
		}
		if c, s := sizeClass(size); c != class || s != size {
			t.Errorf("%d bytes: a block of class %d returns to class %d", n, class, c)
		}
		last = class
	}
	if class, size := sizeClass(1 << 62); class >= len(hostPool{}.free) || size != 1<<62 {
		t.Errorf("2⁶² bytes: class %d of %d bytes", class, size)
	}
}

// TestAlignment checks that host storage begins on a cache line.
func TestAlignment(t *testing.T) {
	for dt := range dtypes {
		for _, n := range []int{0, 1, 3, 16, 17, 1000, 1 << 17} {
			x := New(CPU, DType(dt), n)
			if p := uintptr(unsafe.Pointer(unsafe.SliceData(x.store.mem))); p%64 != 0 {
				t.Errorf("%s[%d] stands at %#x", DType(dt), n, p)
			}
			if n%2 == 1 { // half of them come back from the pool
				x.Release()
			}
		}
	}
}

// testPool returns a device of its own, so that other tests do not interfere.
func testPool() *Device { return newCPU() }

// TestRecycle: a recycled Tensor serves as another, once, however often it was
// recycled and released; not while memory is poisoned.
func TestRecycle(t *testing.T) {
	live := Live()
	x := From(CPU, []float32{1, 2}, 2)
	v := x.Narrow(0, 1, 1)
	x.Recycle()
	x.Recycle()
	x.Release()
	a, b := From(CPU, []float32{3}, 1), From(CPU, []float32{4}, 1)
	if a != x && b != x {
		t.Error("nothing is made of a recycled Tensor")
	}
	if a == b {
		t.Error("two tensors are one")
	}
	if v.Item() != 2 || a.Item() != 3 || b.Item() != 4 {
		t.Errorf("the view is %v, the new ones %v and %v", v, a, b)
	}
	PoisonFreed(true)
	a.Recycle()
	c := New(CPU, Float32, 1)
	PoisonFreed(false)
	if c == a || !a.Released() {
		t.Error("a Tensor serves again although memory is poisoned, or was not released")
	}
	for _, x := range []*Tensor{v, b, c} {
		x.Recycle()
	}
	if n := Live() - live; n != 0 {
		t.Errorf("%d blocks were not released", n)
	}
	var none *Tensor
	none.Recycle() // harmless
}

// TestRelease follows one block of memory through views and owners.
func TestRelease(t *testing.T) {
	dev := testPool()
	address := func(x *Tensor) *byte { return unsafe.SliceData(x.store.mem) }
	x := New(dev, Float32, 100)
	first := address(x)
	if !x.Exclusive() {
		t.Error("a new tensor shares its storage")
	}
	v := x.Narrow(0, 10, 5)
	if x.Exclusive() || v.Exclusive() {
		t.Error("two views think that they are alone")
	}
	Fill(v, 3)
	x.Release()
	x.Release() // harmless
	if !v.Exclusive() {
		t.Error("the last view does not know that it is alone")
	}
	if y := New(dev, Float32, 100); address(y) == first {
		t.Fatal("memory was reused while a view is alive")
	} else {
		Fill(y, 9)
	}
	if Data[float32](v)[4] != 3 {
		t.Error("a view lost its content")
	}
	w := v.Retain()
	v.Release()
	v.Release()
	if !w.Exclusive() || Data[float32](w)[0] != 3 {
		t.Error("Retain does not keep the storage")
	}
	w.Release()
	// 60 float64 are of the size class of 100 float32: 512 bytes.
	if y := New(dev, Float64, 60); address(y) != first {
		t.Error("released memory was not reused")
	} else if y.store.size != 480 || !y.Exclusive() {
		t.Error("reused storage kept its old size or owners")
	}
	var none *Tensor
	none.Release() // harmless too
}

// TestOpsReuse runs ops in a loop, releasing: they live on the same few blocks.
func TestOpsReuse(t *testing.T) {
	dev := testPool()
	a := Full(dev, Float32, 2, 64, 48)
	blocks := map[*byte]bool{}
	for range 50 {
		s := a.Transpose(0, 1)
		b := MatMul(a, s)
		c := Softmax(b)
		d := Sum(c, true, 1)
		e := Add(c, d)
		for _, x := range []*Tensor{b, c, d, e} {
			blocks[unsafe.SliceData(x.store.mem)] = true
		}
		for _, x := range []*Tensor{s, b, c, d, e} {
			x.Release()
		}
	}
	if len(blocks) > 4 {
		t.Errorf("50 rounds used %d blocks, 4 suffice", len(blocks))
	}
	if !a.Exclusive() {
		t.Error("an op kept a view of its operand")
	}
}

// TestNoLeakedViews runs every primitive with its operands in all layouts and
// checks that no op keeps a view of an operand.
func TestNoLeakedViews(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, p := range primitives {
		if p.name == "AdamW" || p.name == "AttentionGrad" {
			continue // their rows make views that they do not release
		}
		c := p.samples[1]
		for _, l := range layouts[:4] {
			var in []*Tensor
			var refs []int32
			for _, o := range c {
				as := Float32
				if o.as != 0 {
					as = o.as
				}
				lay := l
				if o.plain {
					lay = contiguous
				}
				x := lay.build(CPU, as, random(r, max(o.lo, 0), o.hi, o.shape...).rounded(as))
				in, refs = append(in, x), append(refs, x.store.refs.Load())
			}
			p.run(in)
			for i, x := range in {
				if n := x.store.refs.Load(); n != refs[i] {
					t.Errorf("%s %s: operand %d has %d owners, before %d", p.name, l.name, i, n, refs[i])
				}
			}
		}
	}
}

// TestConcurrentStorage allocates, shares and frees from several goroutines;
// each must see only its own values. Run it with -race.
func TestConcurrentStorage(t *testing.T) {
	dev := testPool()
	shared := Full(dev, Float32, 1, 300)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			var held []*Tensor
			for i := range 400 {
				x := Full(dev, Float32, float64(g), 1+r.IntN(2000))
				v := x.Narrow(0, 0, 1)
				x.Release()
				held = append(held, v, shared.Retain())
				if i%8 == 7 {
					for _, h := range held {
						if w := Data[float32](h)[0]; w != float32(g) && h.Len() == 1 {
							t.Errorf("goroutine %d reads %v", g, w)
						}
						h.Release()
					}
					held = held[:0]
				}
			}
		})
	}
	wg.Wait()
	if !shared.Exclusive() {
		t.Error("the shared tensor has other owners left")
	}
}

// TestConcurrentOps runs ops from several goroutines at a time.
func TestConcurrentOps(t *testing.T) {
	x := put(CPU, Float32, random(rand.New(rand.NewPCG(7, 8)), -1, 1, 200, 200))
	want := Softmax(MatMul(x, x))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 3 {
				m := MatMul(x, x)
				y := Softmax(m)
				for i, v := range Data[float32](y) {
					if v != Data[float32](want)[i] {
						t.Errorf("element %d is %v, alone %v", i, v, Data[float32](want)[i])
						break
					}
				}
				m.Release()
				y.Release()
			}
		})
	}
	wg.Wait()
}

// TestBitsAnyGOMAXPROCS runs every primitive with 1, 2 and 3 processors: the
// bits are the same.
func TestBitsAnyGOMAXPROCS(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	r := rand.New(rand.NewPCG(9, 9))
	for _, p := range primitives {
		c := p.samples[len(p.samples)-1]
		var in []*Tensor
		for _, o := range c {
			as := Float32
			if o.as != 0 {
				as = o.as
			}
			in = append(in, put(CPU, as, random(r, o.lo, o.hi, o.shape...).rounded(as)))
		}
		var first []*Tensor
		for procs := 1; procs <= 3; procs++ {
			runtime.GOMAXPROCS(procs)
			got := p.run(in)
			if first == nil {
				first = got
			}
			for k := range got {
				mustEqual(t, p.name, got[k], get(first[k]))
			}
		}
	}
}

// TestAllocations counts what ops leave to the garbage collector, once their
// memory is pooled: descriptors of tensors, not contents.
func TestAllocations(t *testing.T) {
	a, b := Full(CPU, Float32, 1, 64, 64), Full(CPU, Float32, 2, 64, 64)
	w := Full(CPU, Float32, 1, 64)
	step := kernels.AdamWStep[float64]{Keep: 1}
	for _, c := range []struct {
		name string
		max  float64
		run  func()
	}{
		{"view", 1, func() { a.Narrow(0, 1, 2).Release() }},
		{"new", 1, func() { New(CPU, Float32, 64, 64).Release() }},
		{"data", 0, func() { Data[float32](a)[0] = 1 }},
		{"add", 4, func() { Add(a, b).Release() }},
		{"add into", 3, func() { AddInto(a, b) }},
		{"exp", 5, func() { Exp(a).Release() }},
		{"matmul", 20, func() { MatMul(a, b).Release() }},
		{"rmsnorm", 8, func() { y, r := RMSNorm(a, w, 1e-6); y.Release(); r.Release() }},
		{"adamw", 5, func() { AdamW(a, a, b, b, &step) }},
	} {
		got := testing.AllocsPerRun(50, c.run)
		t.Logf("%-8s %v allocations", c.name, got)
		if got > c.max && !raceEnabled {
			t.Errorf("%s: %v allocations, at most %v are expected", c.name, got, c.max)
		}
	}
}
