package main

import (
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"fuerte/aimv2"
	"fuerte/aimv2/dataset"
	"fuerte/aimv2/report"
	"fuerte/aimv2/tokenizer"
	"fuerte/autograd"
	"fuerte/nn/atomicfile"
	"fuerte/tensor"
)

// spread returns up to n numbers of pictures, evenly over the source.
func spread(src dataset.Source, n int) []int {
	n = min(n, src.Len())
	out := make([]int, n)
	for i := range out {
		out[i] = (2*i + 1) * src.Len() / (2 * n)
	}
	return out
}

// evalImages prepares some pictures of a source.
func evalImages(c aimv2.Config, src dataset.Source, at []int) ([]float32, error) {
	return aimv2.EvalImages(c, len(at), func(i int) (image.Image, error) { return src.Image(at[i]) })
}

// drawTargets draws some pictures beside what the model predicts of them, each
// with another part given.
func drawTargets(path string, m *aimv2.Model, tok *tokenizer.Tokenizer, src dataset.Source) error {
	c := m.Config
	at := spread(src, 6)
	images, err := evalImages(c, src, at)
	if err != nil {
		return err
	}
	n, l := c.Tokens(), c.PatchLen()
	captions, prefix := make([][]int32, len(at)), make([]int32, len(at))
	for i := range at {
		captions[i] = tok.Encode(src.Record(at[i]).Caption)
		prefix[i] = int32(max(1, (i+1)*n/(len(at)+1)))
	}
	b := aimv2.NewBatch(tensor.CPU, c, images, captions, prefix, tok.EOS())
	defer b.Release()
	tape := autograd.NewInferenceTape()
	defer tape.Reset()
	_, pixels, _ := m.Loss(tape, b)
	predicted, wanted := tensor.Data[float32](pixels.Value), tensor.Data[float32](b.PixelTarget)

	side, pixelsLen := c.ImageSize/c.PatchSize, 3*c.ImageSize*c.ImageSize
	rows := make([]report.Row, len(at))
	for i := range at {
		// Entry k speaks of patch k+1; patch 0 is always given.
		whole := func(x []float32, stride int) image.Image {
			values := make([]float32, n*l)
			copy(values[l:], x[i*stride:i*stride+(n-1)*l])
			return report.NormalisedImage(values, side, side, c.PatchSize)
		}
		input := images[i*pixelsLen : (i+1)*pixelsLen]
		rows[i] = report.Row{
			Caption:       src.Record(at[i]).Caption,
			Image:         picture(input, c.ImageSize),
			Target:        whole(wanted, (n-1)*l),
			Prediction:    whole(predicted, n*l),
			Restored:      picture(restore(c, input, predicted[i*n*l:], int(prefix[i])), c.ImageSize),
			PrefixPatches: int(prefix[i]),
			Patch:         c.PatchSize,
		}
	}
	return report.Targets(path, rows)
}

// restore returns an image [3, S, S] whose patches behind the prefix are the
// predicted ones, with the mean and the deviation of the true ones: what the
// loss asks of a prediction is what is left.
func restore(c aimv2.Config, input, predicted []float32, prefix int) []float32 {
	s, p, l := c.ImageSize, c.PatchSize, c.PatchLen()
	out := slices.Clone(input)
	for k := prefix; k < c.Tokens(); k++ {
		values := predicted[(k-1)*l : k*l] // [row, column, channel]
		at := func(i int) int {
			return i%3*s*s + (k/(s/p)*p+i/(3*p))*s + k%(s/p)*p + i/3%p
		}
		var sum, squares float64
		for i := range values {
			sum += float64(input[at(i)])
		}
		mean := sum / float64(l)
		for i := range values {
			squares += (float64(input[at(i)]) - mean) * (float64(input[at(i)]) - mean)
		}
		std := math.Sqrt(squares / float64(l-1)) // as the loss has it
		for i, v := range values {
			out[at(i)] = float32(mean + std*float64(v))
		}
	}
	return out
}

// picture undoes the normalisation of an image [3, S, S].
func picture(x []float32, s int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, s, s))
	for i := range s * s {
		var v [3]uint8
		for ch := range v {
			level := 255*(x[ch*s*s+i]*aimv2.Norm.Std[ch]+aimv2.Norm.Mean[ch]) + 0.5
			v[ch] = uint8(max(0, min(255, level)))
		}
		img.SetRGBA(i%s, i/s, color.RGBA{v[0], v[1], v[2], 0xff})
	}
	return img
}

// writeCaptions writes what the model says to some pictures, beside their own
// captions.
func writeCaptions(path string, m *aimv2.Model, tok *tokenizer.Tokenizer, src dataset.Source) error {
	at := spread(src, 16)
	images, err := evalImages(m.Config, src, at)
	if err != nil {
		return err
	}
	features := m.Features(images)
	defer features.Release()
	const topP = 0.9
	greedy := m.Generate(features, aimv2.Sampling{}, tok.EOS())
	sampled := m.Generate(features, aimv2.Sampling{TopP: topP, Seed: 1}, tok.EOS())
	return atomicfile.WriteFileAtomic(path, func(w io.Writer) error {
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintf(table, "picture\tcaption\tgreedy\ttop-p %g\n", topP)
		for i := range at {
			r := src.Record(at[i])
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.Name, r.Caption, tok.Decode(greedy[i]), tok.Decode(sampled[i]))
		}
		return table.Flush()
	})
}
