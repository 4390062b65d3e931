package aimv2

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math"

	"fuerte/aimv2/preprocess"
	"fuerte/tensor"
)

// hubConfig is the config.json of a published checkpoint, in either form: the
// original, which the hub's own code and ml-aim's checkpoints have, and that of
// transformers. One tower stands at the top; LiT has two below.
type hubConfig struct {
	Architectures []string `json:"architectures,omitempty"`
	hubTower
	Vision          *hubTower `json:"vision_config,omitempty"`
	Text            *hubTower `json:"text_config,omitempty"`
	Decoder         *hubTower `json:"decoder_config,omitempty"` // ours: nobody else has one
	Projection      *int      `json:"projection_dim,omitempty"`
	InitTemperature *float64  `json:"init_temperature,omitempty"`       // original
	InitLogitScale  *float64  `json:"logit_scale_init_value,omitempty"` // transformers
	MaxLogitScale   *float64  `json:"max_logit_scale,omitempty"`
	Type            string    `json:"torch_dtype,omitempty"`
}

// hubTower holds the fields of an encoder and of a text tower. A missing field has
// the default of transformers, which writes no others.
type hubTower struct {
	ModelType  string   `json:"model_type,omitempty"`
	Width      *int     `json:"hidden_size,omitempty"`
	Hidden     *int     `json:"intermediate_size,omitempty"`
	Depth      *int     `json:"num_hidden_layers,omitempty"`
	Heads      *int     `json:"num_attention_heads,omitempty"`
	NormEps    *float64 `json:"rms_norm_eps,omitempty"`
	Activation *string  `json:"hidden_act,omitempty"`
	QKVBias    *bool    `json:"qkv_bias,omitempty"`
	UseBias    *bool    `json:"use_bias,omitempty"` // original
	MLPBias    *bool    `json:"mlp_bias,omitempty"` // transformers

	Channels  *int  `json:"num_channels,omitempty"`
	ImageSize *int  `json:"image_size,omitempty"` // original: absent for native
	PatchSize *int  `json:"patch_size,omitempty"`
	Native    *bool `json:"is_native,omitempty"`   // transformers
	UseHead   *bool `json:"use_head,omitempty"`    // transformers
	Queries   *int  `json:"num_queries,omitempty"` // original: of the head

	Vocab     *int  `json:"vocab_size,omitempty"`
	Positions *int  `json:"max_position_embeddings,omitempty"` // transformers
	Context   *int  `json:"max_context_length,omitempty"`      // original
	Causal    *bool `json:"is_causal,omitempty"`               // original
	EOS       *int  `json:"eos_token_id,omitempty"`
}

// Names of model types. The original form has modelType for a lone encoder, too.
const (
	modelType  = "aimv2"
	visionType = "aimv2_vision_model"
	textType   = "aimv2_text_model"
)

// parseHubConfig reads either form. What a checkpoint really holds, its tensors
// decide.
func parseHubConfig(data []byte) (a Architecture, err error) {
	var c hubConfig
	if err := json.Unmarshal(data, &c); err != nil {
		return a, err
	}
	switch {
	case c.ModelType != "" && c.ModelType != modelType && c.ModelType != visionType && c.ModelType != textType:
		return a, fmt.Errorf("model_type %q is none of %s, %s and %s", c.ModelType, modelType, visionType, textType)
	case c.ModelType == textType:
		a.Text, err = c.hubTower.text()
	case c.Vision != nil || c.Text != nil:
		vision, text := or(c.Vision, hubTower{}), or(c.Text, hubTower{})
		var err2 error
		a.Vision, err = vision.vision()
		a.Text, err2 = text.text()
		err = errors.Join(err, err2)
		a.Projection, a.MaxLogitScale = or(c.Projection, 512), or(c.MaxLogitScale, 100)
	default:
		a.Vision, err = c.hubTower.vision()
	}
	if err == nil && c.Decoder != nil {
		c.Decoder.EOS = new(0)
		a.Decoder, err = c.Decoder.text()
	}
	return a, err
}

// or returns what p points to, or the default.
func or[T any](p *T, value T) T {
	if p != nil {
		return *p
	}
	return value
}

// supported refuses what no published model has and ours could not compute.
func (t *hubTower) supported() error {
	switch {
	case or(t.QKVBias, false) || or(t.UseBias, false) || or(t.MLPBias, false):
		return errors.New("biases in the blocks (qkv_bias, use_bias, mlp_bias) are not supported")
	case or(t.Activation, "silu") != "silu":
		return fmt.Errorf("hidden_act %q is not supported, only silu", *t.Activation)
	case or(t.Channels, 3) != 3:
		return fmt.Errorf("num_channels %d is not supported, only 3", *t.Channels)
	}
	return nil
}

func (t *hubTower) vision() (*VisionConfig, error) {
	v := &VisionConfig{
		ImageSize: or(t.ImageSize, 224), PatchSize: or(t.PatchSize, 14),
		Stack:  Stack{or(t.Width, 1024), or(t.Depth, 24), or(t.Heads, 8), or(t.Hidden, 2816)},
		Native: or(t.Native, false), Head: or(t.UseHead, true), NormEps: or(t.NormEps, 1e-5),
	}
	return v, t.supported()
}

func (t *hubTower) text() (*TextConfig, error) {
	eos := or(t.EOS, 49407)
	if eos < 0 || eos > math.MaxInt32 {
		return nil, fmt.Errorf("eos_token_id %d is no id", eos)
	}
	c := &TextConfig{
		Vocab: or(t.Vocab, 49408), Context: or(t.Positions, or(t.Context, 77)),
		Stack: Stack{or(t.Width, 768), or(t.Depth, 12), or(t.Heads, 6), or(t.Hidden, 2048)},
		EOS:   int32(eos), NormEps: or(t.NormEps, 1e-5),
	}
	return c, t.supported()
}

// hubConfig returns the config.json of an architecture, in the form of
// transformers or in the original one. dtype is torch's name of the weights' type.
func (a Architecture) hubConfig(transformers bool, dtype string) ([]byte, error) {
	c := hubConfig{Type: dtype}
	var vision, text *hubTower
	if a.Vision != nil {
		vision = hubVision(*a.Vision, transformers)
	}
	if a.Text != nil {
		text = hubText(*a.Text, transformers)
	}
	if a.Decoder != nil {
		c.Decoder = hubText(*a.Decoder, transformers)
		c.Decoder.ModelType, c.Decoder.EOS = "", nil
	}
	name := "AIMv2Model"
	switch {
	case a.lit():
		c.Vision, c.Text = vision, text
		c.ModelType = modelType
		c.Projection, c.MaxLogitScale = &a.Projection, &a.MaxLogitScale
		if transformers {
			name, c.InitLogitScale = "Aimv2Model", new(2.6592)
		} else {
			c.InitTemperature = new(0.07)
		}
	case text != nil:
		c.hubTower, name = *text, "Aimv2TextModel"
		c.ModelType = textType // the original form has no lone text tower
	default:
		c.hubTower = *vision
		if transformers {
			name = "Aimv2VisionModel"
		}
	}
	c.Architectures = []string{name}
	data, err := json.MarshalIndent(c, "", "  ")
	return append(data, '\n'), err
}

func hubBlocks(s Stack, eps float64) *hubTower {
	return &hubTower{Width: &s.Width, Hidden: &s.Hidden, Depth: &s.Depth, Heads: &s.Heads, NormEps: &eps, QKVBias: new(false)}
}

func hubVision(v VisionConfig, transformers bool) *hubTower {
	t := hubBlocks(v.Stack, v.NormEps)
	t.Channels, t.PatchSize = new(3), &v.PatchSize
	if transformers {
		t.ModelType, t.Activation, t.MLPBias = visionType, new("silu"), new(false)
		t.Native, t.UseHead, t.ImageSize = &v.Native, &v.Head, &v.ImageSize
		if v.Native {
			t.ImageSize = new(224) // what the published file has; it sizes nothing
		}
		return t
	}
	t.ModelType, t.UseBias = modelType, new(false)
	if !v.Native {
		t.ImageSize = &v.ImageSize
	}
	if v.Head {
		t.Queries = new(1)
	}
	return t
}

func hubText(c TextConfig, transformers bool) *hubTower {
	t := hubBlocks(c.Stack, c.NormEps)
	t.Vocab, t.EOS = &c.Vocab, new(int(c.EOS))
	if transformers {
		t.ModelType, t.Activation, t.MLPBias, t.Positions = textType, new("silu"), new(false), &c.Context
		return t
	}
	t.ModelType, t.UseBias, t.Context, t.Causal = modelType, new(false), &c.Context, new(true)
	return t
}

// Processor is how the pictures of a checkpoint are prepared: what a
// preprocessor_config.json says.
type Processor struct {
	Shortest int // the shortest side after resizing; 0: no resizing
	Crop     int // side of the square cut from the centre; 0: none
	Norm     preprocess.Norm
}

// HubProcessor is the Processor of the published checkpoints for images of side S,
// or of native ones for 0.
func HubProcessor(size int) Processor {
	return Processor{Shortest: size, Crop: size, Norm: preprocess.CLIP}
}

// mostPatches is eight times what native encoders were trained with: attention to
// more takes minutes.
const mostPatches = 1 << 15

// Prepare returns a picture over white as the input of an encoder with patches of P
// pixels, float32 [1, 3, h, w] on the CPU.
//
// Errors: of a picture that is not resized, less than one patch and more than
// 32,768.
func (p Processor) Prepare(img image.Image, patch int) (*tensor.Tensor, error) {
	var rgb preprocess.RGB
	preprocess.ToRGB(&rgb, img, preprocess.White)
	if p.Crop > 0 {
		out := make([]float32, 3*p.Crop*p.Crop)
		preprocess.Eval{Shortest: p.Shortest, Size: p.Crop, Norm: p.Norm}.Apply(out, rgb, new(preprocess.Scratch))
		return tensor.From(tensor.CPU, out, 1, 3, p.Crop, p.Crop), nil
	}
	if n := (rgb.Height / patch) * (rgb.Width / patch); n < 1 || n > mostPatches {
		return nil, fmt.Errorf("%d×%d pixels are %d patches of %d, it takes 1 to %d: resize it", rgb.Width, rgb.Height, n, patch, mostPatches)
	}
	out := make([]float32, 3*rgb.Height*rgb.Width)
	p.Norm.Apply(out, rgb, false)
	return tensor.From(tensor.CPU, out, 1, 3, rgb.Height, rgb.Width), nil
}

// processorConfig is preprocessor_config.json, as CLIPImageProcessor has it.
type processorConfig struct {
	Type      string      `json:"image_processor_type"`
	ToRGB     *bool       `json:"do_convert_rgb,omitempty"`
	Resize    *bool       `json:"do_resize,omitempty"`
	Size      *sideOrSize `json:"size,omitempty"`
	Resample  *int        `json:"resample,omitempty"`
	Crop      *bool       `json:"do_center_crop,omitempty"`
	CropSize  *sideOrSize `json:"crop_size,omitempty"`
	Rescale   *bool       `json:"do_rescale,omitempty"`
	Factor    *float64    `json:"rescale_factor,omitempty"`
	Normalize *bool       `json:"do_normalize,omitempty"`
	Mean      []float32   `json:"image_mean,omitempty"`
	Std       []float32   `json:"image_std,omitempty"`
}

// sideOrSize is a size as one number or as an object.
type sideOrSize struct {
	Shortest int `json:"shortest_edge,omitempty"`
	Height   int `json:"height,omitempty"`
	Width    int `json:"width,omitempty"`
}

func (s *sideOrSize) UnmarshalJSON(data []byte) error {
	type object sideOrSize // without this method
	if err := json.Unmarshal(data, &s.Shortest); err == nil {
		return nil
	}
	return json.Unmarshal(data, (*object)(s))
}

// bicubic is Pillow's number of the filter.
const bicubic = 3

// ParseProcessor reads a preprocessor_config.json.
//
// Errors: what CLIPImageProcessor could do and no published checkpoint asks for:
// a resize to a fixed height and width or with another filter than bicubic, a crop
// that is not square or larger than the picture, no normalisation.
func ParseProcessor(data []byte) (p Processor, err error) {
	var c processorConfig
	if err := json.Unmarshal(data, &c); err != nil {
		return p, err
	}
	const largest = 1 << 14
	if or(c.Resize, true) {
		size := or(c.Size, sideOrSize{Shortest: 224})
		if p.Shortest = size.Shortest; size.Height != 0 || size.Width != 0 || p.Shortest < 1 || p.Shortest > largest {
			return p, fmt.Errorf("size %+v is not supported: only a shortest_edge from 1 to %d is", size, largest)
		}
		if or(c.Resample, bicubic) != bicubic {
			return p, fmt.Errorf("resample %d is not supported, only %d (bicubic)", *c.Resample, bicubic)
		}
	}
	if or(c.Crop, true) {
		size := or(c.CropSize, sideOrSize{Shortest: 224})
		if p.Crop = max(size.Shortest, size.Height); size.Shortest == 0 && size.Height != size.Width || p.Crop < 1 || p.Crop > max(p.Shortest, 0) {
			return p, fmt.Errorf("crop_size %+v of pictures with a shortest side of %d is not supported", size, p.Shortest)
		}
	}
	if (p.Shortest == 0) != (p.Crop == 0) {
		return p, errors.New("do_resize and do_center_crop are supported together only")
	}
	factor := or(c.Factor, 1.0/255)
	if !or(c.Rescale, true) || !or(c.Normalize, true) || math.Abs(factor*255-1) > 1e-6 {
		return p, errors.New("do_rescale by 1/255 and do_normalize are needed")
	}
	p.Norm = preprocess.CLIP
	for _, part := range []struct {
		name string
		from []float32
		to   *[3]float32
	}{{"image_mean", c.Mean, &p.Norm.Mean}, {"image_std", c.Std, &p.Norm.Std}} {
		switch {
		case part.from == nil:
		case len(part.from) != 3:
			return p, fmt.Errorf("%s has %d values, not 3", part.name, len(part.from))
		default:
			*part.to = [3]float32(part.from)
		}
	}
	for _, s := range p.Norm.Std {
		if !(s > 0) {
			return p, fmt.Errorf("image_std %v is not positive", p.Norm.Std)
		}
	}
	return p, nil
}

// Config returns p as a preprocessor_config.json.
func (p Processor) Config() ([]byte, error) {
	c := processorConfig{
		Type: "CLIPImageProcessor", ToRGB: new(true), Resize: new(p.Shortest > 0), Crop: new(p.Crop > 0),
		Rescale: new(true), Factor: new(1.0 / 255), Normalize: new(true), Mean: p.Norm.Mean[:], Std: p.Norm.Std[:],
	}
	if p.Shortest > 0 {
		c.Size, c.Resample = &sideOrSize{Shortest: p.Shortest}, new(bicubic)
		c.CropSize = &sideOrSize{Height: p.Crop, Width: p.Crop}
	}
	data, err := json.MarshalIndent(c, "", "  ")
	return append(data, '\n'), err
}
