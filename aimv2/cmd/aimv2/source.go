package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"fuerte/aimv2/hub"
)

// hubFiles are the files of a model that are of use here; weights in other forms
// (mlx_model.safetensors, flax_model.msgpack) are not.
var hubFiles = regexp.MustCompile(`^(config|preprocessor_config|tokenizer|tokenizer_config|special_tokens_map|vocab)\.json$|^merges\.txt$|` +
	`^model(-\d+-of-\d+)?\.safetensors$|^model\.safetensors\.index\.json$`)

// locate returns the folder or file of that name, or fetches the model of that
// name from the hub and returns its folder.
func locate(name string) (string, error) {
	_, missing := os.Stat(name)
	m, ok := hub.ParseModel(name)
	if missing == nil || !ok {
		return name, nil
	}
	h, err := hub.FromEnv()
	if err != nil {
		return "", err
	}
	var told time.Time
	h.Progress = func(file string, done, total int64) {
		if done == total || time.Since(told) > 5*time.Second {
			told = time.Now()
			fmt.Fprintf(os.Stderr, "%s/%s: %s: %s of %s\n", m.Owner, m.Name, file, amount(done), amount(total))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := h.Snapshot(ctx, m, hubFiles.MatchString)
	switch {
	case ctx.Err() != nil:
		complain(errors.New("interrupted; the next attempt goes on from here"))
		return "", interrupted
	case err != nil:
		return "", fmt.Errorf("there is no folder %s, and %w", name, err)
	}
	return dir, nil
}
