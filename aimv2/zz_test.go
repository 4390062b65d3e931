package aimv2

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"fuerte/aimv2/dataset/emoji48"
	"fuerte/kernels"
	"fuerte/tensor"
)

func TestZZ(t *testing.T) {
	fmt.Println("isa", kernels.F32().Name)
	src, err := emoji48.Open("train")
	if err != nil {
		t.Fatal(err)
	}
	t0 := time.Now()
	tok, err := TrainTokenizer(src, 1024)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("tok", time.Since(t0), tok.Vocab())
	preset := os.Getenv("ZZ")
	if preset == "" {
		preset = "tiny"
	}
	steps := 20
	if s := os.Getenv("ZZN"); s != "" {
		steps, _ = strconv.Atoi(s)
	}
	c := Presets[preset]
	r := Published(c, steps, 64, 1)
	tr, err := NewTrainer(tensor.CPU, r, src, tok)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(c.Parameters(), c.TrainFLOP()/1e9)
	last := time.Now()
	err = tr.Run(context.Background(), func(m Metrics) error {
		d := time.Since(last)
		last = time.Now()
		fmt.Printf("%+v %v %.1f GF/s\n", m, d, c.TrainFLOP()*64/d.Seconds()/1e9)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
