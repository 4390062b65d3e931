package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFile is the largest file that is read. The largest vocabularies in use, of
// 256,000 tokens, take half of it as tokenizer.json.
const maxFile = 64 << 20

// The files of a folder that Load looks for, in this order.
var names = []string{"tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model"}

// Load reads a tokenizer of any kind:
//
//   - a tokenizer.json, of CLIP's shape or of a unigram model
//   - a vocab.json, with CLIP's merges.txt beside it
//   - a .model file of SentencePiece
//   - a folder with one of these, as the Hub has it
//
// A SentencePiece model is SigLIP's where the tokenizer_config.json beside it
// says so; then its texts lose case and punctuation first (see ParseSigLIP).
//
// Errors: name the file and what in it is missing or of another shape.
func Load(path string) (*Tokenizer, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	} else if info.IsDir() {
		if path, err = find(path); err != nil {
			return nil, fmt.Errorf("tokenizer: %w", err)
		}
	}
	t, err := load(path)
	if err != nil && !errors.As(err, new(*fs.PathError)) { // which names a path already
		err = fmt.Errorf("%s: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

// find returns the file of a folder to load.
func find(dir string) (string, error) {
	order := names
	if isSigLIP, err := configIsSigLIP(dir); err != nil {
		return "", err
	} else if isSigLIP { // transformers reads its .model, whatever else there is
		order = append([]string{"spiece.model"}, names...)
	}
	for _, name := range order {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: no %s", dir, strings.Join(names, ", "))
}

// configIsSigLIP reports what the tokenizer_config.json of a folder says, where
// there is one.
func configIsSigLIP(dir string) (bool, error) {
	path := filepath.Join(dir, "tokenizer_config.json")
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	var config struct {
		Class string `json:"tokenizer_class"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return strings.HasPrefix(config.Class, "Siglip"), nil
}

func load(path string) (*Tokenizer, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasSuffix(path, ".model"):
		if isSigLIP, err := configIsSigLIP(filepath.Dir(path)); err != nil {
			return nil, err
		} else if isSigLIP {
			return ParseSigLIP(data)
		}
		return ParseSentencePiece(data)
	case filepath.Base(path) == "vocab.json":
		merges, err := readFile(filepath.Join(filepath.Dir(path), "merges.txt"))
		if err != nil {
			return nil, err
		}
		return ParseCLIP(data, merges)
	}
	return Parse(data)
}

// readFile reads a whole file of at most maxFile bytes.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("more than %d bytes", maxFile)}
	}
	return data, err
}

// Parse reads the text of a tokenizer.json; see Load.
func Parse(data []byte) (*Tokenizer, error) {
	var kind struct {
		Model struct {
			Type string `json:"type"`
		} `json:"model"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, fmt.Errorf("not a tokenizer.json: %w", err)
	}
	switch kind.Model.Type {
	case "BPE":
		return parseBPE(data)
	case "Unigram":
		return parseUnigram(data)
	}
	return nil, fmt.Errorf("the model is %q, not BPE or Unigram", kind.Model.Type)
}

// ParseCLIP reads the texts of CLIP's vocab.json and merges.txt.
func ParseCLIP(vocab, merges []byte) (*Tokenizer, error) {
	var ids map[string]int
	if err := json.Unmarshal(vocab, &ids); err != nil {
		return nil, fmt.Errorf("not a vocab.json: %w", err)
	}
	tokens, err := byID(ids)
	if err != nil {
		return nil, err
	}
	var special []string
	for _, s := range []string{StartToken, EndToken} {
		if _, ok := ids[s]; ok {
			special = append(special, s)
		}
	}
	for _, token := range tokens {
		if !slices.Contains(special, token) && !inAlphabet(strings.TrimSuffix(token, wordEnd)) {
			return nil, fmt.Errorf("token %q is not written in the byte alphabet", token)
		}
	}
	var pairs [][2]string
	for line := range bytes.Lines(merges) {
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" || len(pairs) == 0 && strings.HasPrefix(text, "#version") {
			continue
		}
		left, right, ok := strings.Cut(text, " ")
		if !ok {
			return nil, fmt.Errorf("merges.txt: %.60q is not two tokens", text)
		}
		pairs = append(pairs, [2]string{left, right})
	}
	t, err := assemble(tokens, pairs, special)
	if err != nil {
		return nil, err
	}
	t.model.(*byteBPE).splitSpecial = true // as transformers builds it from these files
	return t, nil
}
