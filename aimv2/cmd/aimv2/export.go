package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"fuerte/aimv2"
	"fuerte/nn"
)

type exportCommand struct {
	From  string `arg:"" name:"run" help:"Folder of a finished run."`
	To    string `arg:"" name:"dest" help:"Folder to write: configuration, tokenizer and weights."`
	DType string `name:"dtype" enum:"F32,BF16,F16" default:"BF16" help:"F32, BF16 or F16. Default: ${default}."`
}

// Run writes a model without the state of its training.
func (c *exportCommand) Run() error {
	m, tok, err := loadModel(c.From)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(c.To, aimv2.StateFile)); err == nil {
		return fmt.Errorf("%s holds a run, whose model would be lost: choose another folder", c.To)
	}
	config, err := os.ReadFile(filepath.Join(c.From, aimv2.ConfigFile))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.To, 0o777); err != nil {
		return err
	}
	model := filepath.Join(c.To, aimv2.ModelFile)
	err = errors.Join(
		os.WriteFile(filepath.Join(c.To, aimv2.ConfigFile), config, 0o666),
		tok.Save(filepath.Join(c.To, aimv2.TokenizerFile)),
		nn.Save(model, c.DType, map[string]string{"format": "pt"}, m.Params()))
	if err != nil {
		return err
	}
	info, err := os.Stat(model)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s, %s\n", model, c.DType, amount(info.Size()))
	return nil
}

// amount counts memory: "3.2 MB".
func amount(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.2f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d bytes", n)
}
