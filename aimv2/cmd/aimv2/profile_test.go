package main

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fuerte/aimv2"
)

// TestProfile: pretrain and embed print the table, write it, the trace and the CPU
// profile, and a file that cannot be written is an error.
func TestProfile(t *testing.T) {
	dir := t.TempDir()
	pictures(t, filepath.Join(dir, "data"))
	r := must(t, dir, "pretrain", "-data", "data", "-steps", "2", "-batch", "2", "-out", "run", "-profile", "-nan", "-trace", "trace.json", "-cpuprofile", "cpu.prof")
	table := string(read(t, filepath.Join(dir, "run", profileFile)))
	if !strings.Contains(r.stdout, table) {
		t.Error("the table in the folder is not what is printed")
	}
	for _, want := range []string{"2 steps of", "| linear backward | encoder.blocks.*.mlp |", "unattributed", "% peak", "| optimiser |", "Host memory"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	var trace struct{ TraceEvents []map[string]any }
	if err := json.Unmarshal(read(t, filepath.Join(dir, "trace.json")), &trace); err != nil || len(trace.TraceEvents) < 100 {
		t.Errorf("the trace has %d events: %v", len(trace.TraceEvents), err)
	}
	if cpu := read(t, filepath.Join(dir, "cpu.prof")); len(cpu) == 0 || cpu[0] != 0x1f { // gzip
		t.Errorf("the CPU profile is %d bytes of something else", len(cpu))
	}

	r = must(t, dir, "embed", "-model", "run", "-profile-full", "data/p0.png", "data/p1.png")
	for _, want := range []string{"features.safetensors", "2 steps of", "encoder.blocks.1.mlp", "| prepare |", "| pool |"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("embed prints no %q:\n%s", want, r.stdout)
		}
	}
	r = must(t, dir, "embed", "-model", parity(t, "lit"), "-pool", "head", "-profile", "-nan", "data/p0.png")
	for _, want := range []string{"1 steps of", "encoder.blocks.*.attn", "pool.head"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("embed of a LiT model prints no %q:\n%s", want, r.stdout)
		}
	}
	if r := do(t, dir, "embed", "-model", "run", "-cpuprofile", "no/such/folder", "data/p0.png"); r.status != int(failed) || !strings.Contains(r.stderr, "no/such/folder") {
		t.Errorf("status %d: %s", r.status, r.stderr)
	}
	if r := do(t, dir, "embed", "-model", "run", "-trace", "no/such/folder", "data/p0.png"); r.status != int(failed) || !strings.Contains(r.stderr, "no/such") {
		t.Errorf("status %d: %s", r.status, r.stderr)
	}

	const weight = "trunk.blocks.1.mlp.fc1.weight"
	breakWeight(t, filepath.Join(dir, "run", aimv2.ModelFile), "image_encoder."+weight)
	if r := do(t, dir, "embed", "-model", "run", "-nan", "data/p0.png"); r.status != int(failed) || !strings.Contains(r.stderr, "encoder.blocks.1.mlp") || !strings.Contains(r.stderr, weight) {
		t.Errorf("status %d: %s", r.status, r.stderr)
	}
}

// breakWeight writes a NaN over the first value of a tensor of a safetensors file.
func breakWeight(t *testing.T, file, name string) {
	t.Helper()
	b := read(t, file)
	data := 8 + binary.LittleEndian.Uint64(b)
	var header map[string]struct {
		Offsets []uint64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(b[8:data], &header); err != nil || len(header[name].Offsets) != 2 {
		t.Fatalf("%s has no %s: %v", file, name, err)
	}
	copy(b[data+header[name].Offsets[0]:], "\xff\xff\xff\xff") // in every floating dtype
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
