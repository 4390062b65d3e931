//go:build opengl

package aimv2

import (
	"os"
	"sync"
	"testing"

	"fuerte/tensor"
)

var openOnce = sync.OnceValues(tensor.OpenGL)

// Without a driver the OpenGL device is skipped, but its absence is a failure
// where FUERTE_OPENGL says that there is one.
func init() {
	extraDevices = func(t *testing.T) []*tensor.Device {
		dev, err := openOnce()
		if err != nil && os.Getenv("FUERTE_OPENGL") != "" {
			t.Fatal(err)
		}
		if err != nil {
			t.Log("NOT RUN on OpenGL:", err)
			return nil
		}
		return []*tensor.Device{dev}
	}
}
