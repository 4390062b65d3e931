package aimv2

import (
	"fmt"
	"slices"
	"strings"
)

// Family is a way of naming the tensors of a checkpoint. The names of the
// model's own tags ("ours") are ml-aim's, with the tower in front.
type Family struct {
	Name string
	// Prefix stands before all names that Names has no row for.
	Prefix string
	Names  []Rename
	// Bare lists the prefixes that are left out where a tower stands alone.
	Bare []string
	// Towers lists the first words of the names that the family has.
	Towers []string
}

// Rename is a row of a family's table. A * stands for the number of a block.
// Theirs with {q,k,v} are three tensors, a third of the rows each, in this order;
// Theirs that begin with = lack the first axis, of 1.
type Rename struct{ Ours, Theirs string }

// Families are those that there are. All of them are told apart by their names,
// so that a checkpoint needs no label.
var Families = []Family{
	{
		// What pretrain writes.
		Name:   "fuerte",
		Towers: []string{"image_encoder", "text_decoder"},
	},
	{
		// github.com/apple/ml-aim, and the hub until mid-2025.
		Name:   "ml-aim",
		Bare:   []string{"image_encoder."},
		Towers: []string{"image_encoder", "text_encoder", "image_projector", "text_projector", "log_logit_scale"},
	},
	{
		// Aimv2VisionModel, Aimv2TextModel and Aimv2Model of transformers.
		Name:   "transformers",
		Bare:   []string{"vision_model.", "text_model."},
		Towers: []string{"image_encoder", "text_encoder", "image_projector", "text_projector", "log_logit_scale"},
		Names: slices.Concat([]Rename{
			{"image_encoder.preprocessor.patchifier.proj.weight", "vision_model.embeddings.patch_embed.weight"},
			{"image_encoder.preprocessor.patchifier.proj.bias", "vision_model.embeddings.patch_embed.bias"},
			{"image_encoder.preprocessor.patchifier.norm.weight", "vision_model.embeddings.rms_norm.weight"},
			{"image_encoder.preprocessor.pos_embed", "=vision_model.embeddings.position_embedding.weight"},
			{"image_encoder.head.cls_token", "vision_model.head.cls_token"},
			{"image_encoder.head.k.weight", "vision_model.head.k_proj.weight"},
			{"image_encoder.head.v.weight", "vision_model.head.v_proj.weight"},
			{"image_encoder.head.linear.weight", "vision_model.head.output_proj.weight"},
			{"image_encoder.head.linear.bias", "vision_model.head.output_proj.bias"},
			{"text_encoder.preprocessor.text_embedding.weight", "text_model.embeddings.token_embedding.weight"},
			{"text_encoder.preprocessor.positional_embedding", "text_model.embeddings.position_embedding.weight"},
			{"image_projector.weight", "visual_projection.weight"},
			{"text_projector.weight", "text_projection.weight"},
			{"log_logit_scale", "logit_scale"},
		},
			under("image_encoder.trunk.", "vision_model.", transformersTrunk),
			under("text_encoder.trunk.", "text_model.", transformersTrunk)),
	},
	{
		// The released training code: a level more in the encoder's preprocessor,
		// and q, k and v apart.
		Name:   "ml-l3m",
		Prefix: "models.",
		Towers: []string{"image_encoder", "text_decoder"},
		Names: slices.Concat([]Rename{
			{"image_encoder.preprocessor.patchifier.proj.weight", "models.image_encoder.preprocessor.blocks.0.patchifier.proj.weight"},
			{"image_encoder.preprocessor.patchifier.proj.bias", "models.image_encoder.preprocessor.blocks.0.patchifier.proj.bias"},
			{"image_encoder.preprocessor.patchifier.norm.weight", "models.image_encoder.preprocessor.blocks.0.patchifier.norm.weight"},
			{"image_encoder.preprocessor.pos_embed", "models.image_encoder.preprocessor.blocks.0.pos_embed"},
		},
			under("image_encoder.trunk.", "models.image_encoder.trunk.", l3mTrunk),
			under("text_decoder.trunk.", "models.text_decoder.trunk.", l3mTrunk)),
	},
}

// The families that more than their names tell apart.
var runFamily, transformersFamily, l3mFamily = &Families[0], &Families[2], &Families[3]

// training reports whether the family is one of training code, which normalises
// pictures its own way.
func (f *Family) training() bool { return f == runFamily || f == l3mFamily }

var transformersTrunk = []Rename{
	{"blocks.*.norm_1.weight", "encoder.layers.*.rms_norm1.weight"},
	{"blocks.*.attn.qkv.weight", "encoder.layers.*.attention.{q,k,v}_proj.weight"},
	{"blocks.*.attn.proj.weight", "encoder.layers.*.attention.out_proj.weight"},
	{"blocks.*.norm_2.weight", "encoder.layers.*.rms_norm2.weight"},
	{"blocks.*.mlp.fc1.weight", "encoder.layers.*.ffn.gate_proj.weight"},
	{"blocks.*.mlp.fc2.weight", "encoder.layers.*.ffn.down_proj.weight"},
	{"blocks.*.mlp.fc3.weight", "encoder.layers.*.ffn.up_proj.weight"},
	{"post_trunk_norm.weight", "rms_norm.weight"},
}

var l3mTrunk = []Rename{
	{"blocks.*.attn.qkv.weight", "blocks.*.attn.{q,k,v}_proj.weight"},
}

// under puts the prefixes of a tower before the rows of a table.
func under(ours, theirs string, rows []Rename) []Rename {
	out := make([]Rename, len(rows))
	for i, r := range rows {
		out[i] = Rename{ours + r.Ours, theirs + r.Theirs}
	}
	return out
}

// FamilyOf returns a family by its name. Errors: an unknown name.
func FamilyOf(name string) (*Family, error) {
	var names []string
	for i, f := range Families {
		if f.Name == name {
			return &Families[i], nil
		}
		names = append(names, f.Name)
	}
	return nil, fmt.Errorf("there is no family of names %q; there are %s", name, strings.Join(names, ", "))
}

// holds reports whether the family has a name for a tensor.
func (f *Family) holds(ours string) bool {
	tower, _, _ := strings.Cut(ours, ".")
	return slices.Contains(f.Towers, tower)
}

// keys returns the names of a tensor in the family, one or three, and whether it
// lacks the first axis there. alone tells that its tower stands alone.
func (f *Family) keys(ours string, alone bool) (keys []string, squeezed bool) {
	before, rest, number := ours, "", ""
	if b, after, ok := strings.Cut(ours, ".blocks."); ok {
		if n, r, ok := strings.Cut(after, "."); ok {
			before, number, rest = b, n, r
		}
	}
	pattern := before
	if number != "" {
		pattern = before + ".blocks.*." + rest
	}
	key := f.Prefix + ours
	if i := slices.IndexFunc(f.Names, func(r Rename) bool { return r.Ours == pattern }); i >= 0 {
		key, squeezed = strings.CutPrefix(f.Names[i].Theirs, "=")
		key = strings.Replace(key, "*", number, 1)
	}
	if alone {
		for _, bare := range f.Bare {
			key = strings.TrimPrefix(key, bare)
		}
	}
	if !strings.Contains(key, "{q,k,v}") {
		return []string{key}, squeezed
	}
	for _, part := range []string{"q", "k", "v"} {
		keys = append(keys, strings.Replace(key, "{q,k,v}", part, 1))
	}
	return keys, squeezed
}
