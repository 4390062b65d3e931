package aimv2

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fuerte/nn"
	"fuerte/nn/atomicfile"
	"fuerte/nn/safetensors"
	"fuerte/tensor"
)

// ProcessorFile is the name of the file that a Processor is read from.
const ProcessorFile = "preprocessor_config.json"

// companions are the other files that a checkpoint is used with.
var companions = []string{TokenizerFile, "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt"}

// Checkpoint is an open checkpoint of any Family. Every tensor of it is known to
// have its place, its shape and its name.
type Checkpoint struct {
	Family *Family
	Architecture
	// Processor prepares its pictures. Of a checkpoint without the file it is that
	// of the published ones or, in the families of training code, Norm at its size.
	Processor Processor

	dir  string
	set  *safetensors.Set
	keys map[string][]string // the names in the file of each of our names
}

// OpenCheckpoint opens a folder, a .safetensors file, or the index of several. The
// family is told by the names of the tensors, and so are towers, head and
// computed positions; the sizes come from config.json or, where it is missing,
// from the tensors, with heads of 128 as in all published models.
//
// Memory: the files are mapped; nothing is read until it is used.
// Errors name the file and the cause: one that is missing or damaged; names of no
// family; every tensor that is missing, unexpected or misshapen, in one error.
func OpenCheckpoint(path string) (*Checkpoint, error) {
	c := &Checkpoint{dir: path}
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.IsDir() {
		c.dir = filepath.Dir(path)
	} else {
		path = filepath.Join(c.dir, ModelFile)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			if index := filepath.Join(c.dir, ModelFile+".index.json"); exists(index) {
				path = index
			}
		}
	}
	set, err := safetensors.OpenSet(path)
	if err != nil {
		return nil, err
	}
	c.set = set
	if err := c.open(); err != nil {
		return nil, errors.Join(err, set.Close())
	}
	return c, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// open works out what the tensors are.
func (c *Checkpoint) open() error {
	found, err := detect(c.set)
	if err != nil {
		return fmt.Errorf("%s: %w", c.set.Path(), err)
	}
	c.Family = found.family
	a, err := c.readConfig()
	if err != nil {
		return err
	}
	if c.Architecture, err = found.complete(a); err != nil {
		return fmt.Errorf("%s: %w", c.set.Path(), err)
	}
	if err := c.Architecture.Validate(); err != nil {
		return fmt.Errorf("%s: %w", c.set.Path(), err)
	}
	if err := c.check(found.bare); err != nil {
		return err
	}
	if c.Vision == nil {
		return nil
	}
	c.Processor = HubProcessor(c.Vision.ImageSize)
	if c.Family.training() {
		c.Processor.Norm = Norm
	}
	path := filepath.Join(c.dir, ProcessorFile)
	data, err := readSmall(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	if c.Processor, err = ParseProcessor(data); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if !c.Vision.Native && c.Processor.Crop != c.Vision.ImageSize {
		return fmt.Errorf("%s makes pictures of %d pixels, the model takes %d", path, c.Processor.Crop, c.Vision.ImageSize)
	}
	return nil
}

// readConfig returns what config.json says: of a run its recipe's model, nothing
// where there is no such file.
func (c *Checkpoint) readConfig() (Architecture, error) {
	path := filepath.Join(c.dir, ConfigFile)
	data, err := readSmall(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Architecture{}, nil
	case err != nil:
		return Architecture{}, err
	}
	var a Architecture
	if c.Family == runFamily {
		var r Recipe
		if err = json.Unmarshal(data, &r); err == nil {
			if err = r.Model.Validate(); err == nil {
				a = r.Model.Architecture()
			}
		}
	} else {
		a, err = parseHubConfig(data)
	}
	if err != nil {
		return a, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// readSmall reads one of the files beside the weights, of 64 MB at most: the
// largest are vocabularies of some megabytes.
func readSmall(path string) ([]byte, error) {
	const most = 64 << 20
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("%s: more than %d bytes", path, most)
	}
	return data, err
}

// detected is what the names of the tensors tell.
type detected struct {
	family                *Family
	bare                  bool // the names lack the prefix of their lone tower
	vision, text, decoder bool
	set                   *safetensors.Set
}

// Tensors that every encoder, text tower and decoder has, under a name that is
// another one in each family.
const (
	visionMark  = "image_encoder.preprocessor.patchifier.proj.weight"
	textMark    = "text_encoder.preprocessor.text_embedding.weight"
	decoderMark = "text_decoder.preprocessor.text_preprocessor.text_embedding.weight"
	// blockMark is the tensor by which ml-aim's names differ from ml-l3m's.
	blockMark = "trunk.blocks.0.attn.qkv.weight"
)

func detect(set *safetensors.Set) (detected, error) {
	for i := range Families {
		for _, bare := range []bool{false, true} {
			d := detected{family: &Families[i], bare: bare, set: set}
			d.vision, d.text, d.decoder = d.has(visionMark), d.has(textMark), d.has(decoderMark)
			switch {
			case !d.vision && !d.text:
			case d.family == runFamily && !d.decoder: // an encoder in ml-aim's names
			default:
				return d, nil
			}
		}
	}
	var names []string
	for _, f := range Families {
		names = append(names, f.Name)
	}
	return detected{}, fmt.Errorf("its %d tensors have the names of none of %s", len(set.Names()), strings.Join(names, ", "))
}

func (d detected) has(ours string) bool { return d.shape(ours) != nil }

// shape returns the shape of one of our tensors in the file (of the first of
// three), nil if it is not there.
func (d detected) shape(ours string) []int {
	if !d.family.holds(ours) {
		return nil
	}
	keys, _ := d.family.keys(ours, d.bare)
	info, ok := d.set.Info(keys[0])
	if !ok {
		return nil
	}
	return append(make([]int, 0, 1), info.Shape...) // not nil for a scalar
}

// complete returns the architecture of a configuration with the towers, head and
// positions that are there. Sizes that the configuration lacks are read off the
// tensors.
func (d detected) complete(a Architecture) (Architecture, error) {
	if !d.vision {
		a.Vision = nil
	} else if a.Vision == nil {
		patch := d.shape(visionMark)
		if len(patch) != 4 {
			return a, fmt.Errorf("the patch convolution has shape %v", patch)
		}
		s, err := d.stack("image_encoder.trunk.", patch[0])
		if err != nil {
			return a, err
		}
		a.Vision = &VisionConfig{PatchSize: patch[2], Stack: s, NormEps: 1e-5}
		if pos := d.shape("image_encoder.preprocessor.pos_embed"); len(pos) >= 2 {
			side := int(math.Sqrt(float64(pos[len(pos)-2])))
			a.Vision.ImageSize = side * patch[2]
		}
	}
	if v := a.Vision; v != nil {
		v.Native = !d.has("image_encoder.preprocessor.pos_embed")
		v.Head = d.has("image_encoder.head.cls_token")
		if v.Native {
			v.ImageSize = 0
		}
	}
	var err error
	if a.Text, err = d.texts(d.text, a.Text, textMark, "text_encoder.preprocessor.positional_embedding", "text_encoder.trunk.", 0); err != nil {
		return a, err
	}
	if a.Decoder, err = d.texts(d.decoder, a.Decoder, decoderMark, "text_decoder.preprocessor.text_preprocessor.positional_embedding", "text_decoder.trunk.", 1); err != nil {
		return a, err
	}
	if !a.lit() {
		a.Projection, a.MaxLogitScale = 0, 0
	} else if p := d.shape("image_projector.weight"); a.Projection == 0 && len(p) == 2 {
		a.Projection, a.MaxLogitScale = p[0], 100
	}
	return a, nil
}

// texts is complete for a tower that reads ids; extra rows of its positions belong
// to no id.
func (d detected) texts(there bool, c *TextConfig, embedding, positions, trunk string, extra int) (*TextConfig, error) {
	if !there || c != nil {
		if !there {
			c = nil
		}
		return c, nil
	}
	e, p := d.shape(embedding), d.shape(positions)
	if len(e) != 2 || len(p) != 2 {
		return nil, fmt.Errorf("the text embedding has shape %v, its positions %v", e, p)
	}
	s, err := d.stack(trunk, e[1])
	c = &TextConfig{Vocab: e[0], Context: p[0] - extra, Stack: s, NormEps: 1e-5}
	if extra == 0 {
		c.EOS = int32(min(e[0]-1, math.MaxInt32)) // CLIP's last id
	}
	return c, err
}

// stack reads off the shape of a trunk.
func (d detected) stack(trunk string, width int) (Stack, error) {
	const head = 128
	s := Stack{Width: width, Heads: width / head}
	for d.has(fmt.Sprintf("%sblocks.%d.norm_1.weight", trunk, s.Depth)) {
		s.Depth++
	}
	if gate := d.shape(trunk + "blocks.0.mlp.fc1.weight"); len(gate) == 2 {
		s.Hidden = gate[0]
	}
	if width%head != 0 {
		return s, fmt.Errorf("there is no %s, and a width of %d has no heads of %d", ConfigFile, width, head)
	}
	return s, nil
}

// check finds a place for every tensor of the file and for every parameter.
func (c *Checkpoint) check(bare bool) error {
	var wrong []error
	known := map[string]bool{}
	c.keys = map[string][]string{}
	for _, p := range c.ParamShapes() {
		keys, shape := c.Family.place(p, bare)
		c.keys[p.Name] = keys
		for _, key := range keys {
			known[key] = true
			switch info, ok := c.set.Info(key); {
			case !ok:
				wrong = append(wrong, fmt.Errorf("missing %s %v", key, shape))
			case !slices.Equal(info.Shape, shape):
				wrong = append(wrong, fmt.Errorf("%s has shape %v, not %v", key, info.Shape, shape))
			}
		}
	}
	for _, key := range c.set.Names() {
		if !known[key] {
			wrong = append(wrong, fmt.Errorf("unexpected %s", key))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("%s does not fit the model:\n%w", c.set.Path(), err)
	}
	return nil
}

// place returns the names of a parameter in the family, and the shape that each of
// them has there.
func (f *Family) place(p ParamShape, bare bool) (keys []string, shape []int) {
	keys, squeezed := f.keys(p.Name, bare)
	shape = slices.Clone(p.Shape)
	if squeezed {
		shape = shape[1:]
	}
	if len(keys) > 1 {
		shape[0] /= len(keys)
	}
	return keys, shape
}

// Close closes the files.
func (c *Checkpoint) Close() error { return c.set.Close() }

// Files returns the files with the tensors, which stay c's.
func (c *Checkpoint) Files() []*safetensors.File { return c.set.Files() }

// LoadEncoder returns the encoder, with its head if it has one.
//
// Errors: there is none; a tensor whose numbers are no floats.
func (c *Checkpoint) LoadEncoder(dev *tensor.Device) (*Encoder, error) {
	if c.Vision == nil {
		return nil, fmt.Errorf("%s: there is no encoder", c.set.Path())
	}
	e := newEncoder(dev, *c.Vision)
	return e, c.fill("image_encoder.", e)
}

// LoadText returns the text tower. Errors: as LoadEncoder.
func (c *Checkpoint) LoadText(dev *tensor.Device) (*TextEncoder, error) {
	if c.Text == nil {
		return nil, fmt.Errorf("%s: there is no text tower", c.set.Path())
	}
	e := newTextEncoder(dev, *c.Text)
	return e, c.fill("text_encoder.", e)
}

// LoadLiT returns encoder and text tower with what joins them. Errors: as
// LoadEncoder.
func (c *Checkpoint) LoadLiT(dev *tensor.Device) (*LiT, error) {
	if !c.lit() {
		return nil, fmt.Errorf("%s: this is no LiT model: encoder and text tower are needed", c.set.Path())
	}
	m := newLiT(dev, c.Architecture)
	return m, c.fill("", m)
}

// fill reads the parameters of a module whose names lack a prefix.
func (c *Checkpoint) fill(prefix string, module any) error {
	for _, p := range nn.Params(module) {
		h := tensor.New(tensor.CPU, tensor.Float32, p.Shape()...)
		data := tensor.Data[float32](h)
		keys := c.keys[prefix+p.Name]
		part := len(data) / len(keys)
		for i, key := range keys {
			if err := c.set.Float32s(key, data[i*part:(i+1)*part]); err != nil {
				h.Release()
				return err
			}
		}
		d := h.To(p.Value.Device())
		tensor.Copy(p.Value, d)
		d.Release()
		h.Release()
	}
	return nil
}

// Convert writes the checkpoint to a folder of its own in the names of another
// family, with the configuration in its form; dtype is "F32", "BF16", "F16" or,
// to keep every tensor's bytes, empty. Files have up to limit bytes of tensors; 0
// is no limit. It returns the files written and the names of the parameters that
// the family has no name for: those of a decoder, which are left out.
//
// A tensor that is three in one of the families must be of one dtype.
// Errors: the folder has weights already; a text tower that the family lacks;
// those of reading and writing.
func (c *Checkpoint) Convert(dir string, to *Family, dtype string, limit int) (written, left []string, err error) {
	a := c.Architecture
	if a.Decoder != nil && !to.holds(decoderMark) {
		a.Decoder = nil
	}
	bare := a.Vision == nil || a.Text == nil && a.Decoder == nil
	var tensors []safetensors.Tensor
	kept := map[string]bool{}
	types := map[string]bool{}
	for _, p := range a.ParamShapes() {
		if !to.holds(p.Name) {
			return nil, nil, fmt.Errorf("%s: %s has no name for %s", c.set.Path(), to.Name, p.Name)
		}
		kept[p.Name] = true
		source, from, err := c.source(p.Name)
		if err != nil {
			return nil, nil, err
		}
		as := dtype
		if as == "" {
			as = from
		}
		types[as] = true
		keys, shape := to.place(p, bare)
		for i, key := range keys {
			part := cut(source, i, len(keys))
			tensors = append(tensors, safetensors.Tensor{Name: key, DType: as, Shape: shape, Stream: func(w io.Writer) error {
				for _, b := range part {
					if err := safetensors.Recode(w, as, from, b); err != nil {
						return err
					}
				}
				return nil
			}})
		}
	}
	for _, p := range c.ParamShapes() {
		if !kept[p.Name] {
			left = append(left, p.Name)
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, nil, err
	}
	if have, _ := filepath.Glob(filepath.Join(escapeGlob(dir), "*.safetensors*")); len(have) > 0 {
		return nil, nil, fmt.Errorf("%s holds weights already (%s): choose another folder", dir, filepath.Base(have[0]))
	}
	if err := c.writeConfigs(dir, to, a, types); err != nil {
		return nil, nil, err
	}
	written, err = safetensors.WriteSet(dir, strings.TrimSuffix(ModelFile, ".safetensors"), map[string]string{"format": "pt"}, tensors, limit)
	return written, left, err
}

// escapeGlob takes the meaning from the letters that filepath.Glob gives one.
func escapeGlob(path string) string {
	return strings.NewReplacer(`*`, `[*]`, `?`, `[?]`, `[`, `[[]`).Replace(path)
}

// source returns the bytes of one of our tensors, in one piece or three, and
// their dtype.
func (c *Checkpoint) source(ours string) (pieces [][]byte, dtype string, err error) {
	for _, key := range c.keys[ours] {
		info, _ := c.set.Info(key)
		if dtype != "" && info.DType != dtype {
			return nil, "", fmt.Errorf("%s: %s is %s, the tensors that it belongs with %s", c.set.Path(), key, info.DType, dtype)
		}
		dtype = info.DType
		b, err := c.set.Bytes(key)
		if err != nil {
			return nil, "", err
		}
		pieces = append(pieces, b)
	}
	return pieces, dtype, nil
}

// cut returns part i of n equal parts of pieces, which are one or n.
func cut(pieces [][]byte, i, n int) [][]byte {
	switch len(pieces) {
	case n:
		return pieces[i : i+1]
	case 1:
		part := len(pieces[0]) / n
		return [][]byte{pieces[0][i*part : (i+1)*part]}
	}
	return pieces // n is 1
}

// writeConfigs writes config.json in the form that goes with a family, and the
// files that the checkpoint is used with.
func (c *Checkpoint) writeConfigs(dir string, to *Family, a Architecture, types map[string]bool) error {
	dtype := ""
	for t, name := range map[string]string{"F32": "float32", "BF16": "bfloat16", "F16": "float16"} {
		if types[t] && len(types) == 1 {
			dtype = name
		}
	}
	config, err := a.hubConfig(to == transformersFamily, dtype)
	if err != nil {
		return err
	}
	files := map[string][]byte{ConfigFile: config}
	if a.Vision != nil {
		if files[ProcessorFile], err = c.Processor.Config(); err != nil {
			return err
		}
	}
	for _, name := range companions {
		if a.Text == nil && a.Decoder == nil {
			continue
		}
		data, err := readSmall(filepath.Join(c.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		files[name] = data
	}
	for name, data := range files {
		err := atomicfile.WriteFileAtomic(filepath.Join(dir, name), func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
