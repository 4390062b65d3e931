package dataset

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// maxFiles bounds what one pattern may stand for.
const maxFiles = 1 << 20

// expand returns the files that a pattern stands for: braces as a shell has
// them ({00..99} counts, {a,b} chooses; not nested), then * ? [ ] as
// filepath.Glob has them.
//
// Errors: braces that make no list; a pattern that no file matches; more than
// maxFiles names.
func expand(pattern string) ([]string, error) {
	names, err := expandBraces(pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pattern, err)
	}
	var files []string
	for _, name := range names {
		if !strings.ContainsAny(name, "*?[") {
			files = append(files, name)
			continue
		}
		found, err := filepath.Glob(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s: no file matches", name)
		}
		files = append(files, found...)
	}
	return files, nil
}

// expandBraces returns all names of a pattern, the last braces changing fastest.
func expandBraces(pattern string) ([]string, error) {
	before, rest, found := strings.Cut(pattern, "{")
	if !found {
		if strings.Contains(pattern, "}") {
			return nil, errors.New("a } without {")
		}
		return []string{pattern}, nil
	}
	inside, after, found := strings.Cut(rest, "}")
	if !found || strings.ContainsAny(inside, "{") || strings.Contains(before, "}") {
		return nil, errors.New("its braces do not close, or are nested")
	}
	choices, err := braceChoices(inside)
	if err != nil {
		return nil, fmt.Errorf("{%s}: %w", inside, err)
	}
	tails, err := expandBraces(after)
	if err != nil {
		return nil, err
	}
	if len(choices)*len(tails) > maxFiles {
		return nil, fmt.Errorf("it stands for more than %d files", maxFiles)
	}
	names := make([]string, 0, len(choices)*len(tails))
	for _, choice := range choices {
		for _, tail := range tails {
			names = append(names, before+choice+tail)
		}
	}
	return names, nil
}

// braceChoices returns what one pair of braces stands for. Numbers are padded
// with zeros to the longer bound where one of the two begins with a zero.
func braceChoices(inside string) ([]string, error) {
	low, high, counts := strings.Cut(inside, "..")
	if !counts {
		if !strings.Contains(inside, ",") {
			return nil, errors.New("neither a range like 00..99 nor a list like a,b")
		}
		return strings.Split(inside, ","), nil
	}
	// Unsigned, so that no sign is taken for a digit.
	first, err1 := strconv.ParseUint(low, 10, 32)
	last, err2 := strconv.ParseUint(high, 10, 32)
	if err1 != nil || err2 != nil || last < first {
		return nil, errors.New("a range needs two numbers, the lower one first")
	}
	if last-first >= maxFiles {
		return nil, fmt.Errorf("it stands for more than %d files", maxFiles)
	}
	width := 0
	if len(low) > 1 && low[0] == '0' || len(high) > 1 && high[0] == '0' {
		width = max(len(low), len(high))
	}
	if width > 255 {
		return nil, errors.New("its numbers are too long for a file's name")
	}
	var choices []string
	for i := first; i <= last; i++ {
		choices = append(choices, fmt.Sprintf("%0*d", width, i))
	}
	return choices, nil
}
