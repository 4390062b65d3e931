package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxCaption is the longest caption file, caption object or line of a list that
// is read, in bytes.
const maxCaption = 1 << 20

// cleanCaption returns a caption with each run of white space as one space.
func cleanCaption(data []byte) (string, error) {
	if !utf8.Valid(data) {
		return "", errors.New("the caption is not UTF-8")
	}
	caption := strings.Join(strings.Fields(string(data)), " ")
	if caption == "" {
		return "", errors.New("the caption is empty")
	}
	return caption, nil
}

// captioned is a JSON object that holds a caption: under "caption" or, without
// one, under "text". Further fields are passed over.
type captioned struct {
	Image   string `json:"image"`
	Caption string `json:"caption"`
	Text    string `json:"text"`
}

var errNoCaption = errors.New(`it has neither "caption" nor "text"`)

// parseCaptioned reads a JSON object and its caption. With errNoCaption the rest
// of the object is good.
func parseCaptioned(data []byte) (c captioned, caption string, err error) {
	// encoding/json would put U+FFFD for bytes that are no UTF-8.
	if !utf8.Valid(data) {
		return c, "", errors.New("it is not UTF-8")
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, "", fmt.Errorf("it is not an object with a caption: %w", err)
	}
	text := c.Caption
	if text == "" {
		text = c.Text
	}
	if text == "" {
		return c, "", errNoCaption
	}
	caption, err = cleanCaption([]byte(text))
	return c, caption, err
}
