package main

import "testing"

func TestStress(t *testing.T) {
	if err := stress(); err != nil {
		t.Error(err)
	}
}
