//go:build !opengl

package tensor

import "errors"

// OpenGL would open a device on an OpenGL driver; this build has none.
func OpenGL() (*Device, error) {
	return nil, errors.New("tensor: this program was built without OpenGL; build it with -tags opengl")
}
