// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package cluster

import "errors"

// errNoLinux: containers are the kernel's.
var errNoLinux = errors.New("a real node needs Linux")

func (r remains) cgroups() error       { return errNoLinux }
func (r remains) killShims() error     { return nil }
func (r remains) killContained() error { return nil }
func (r remains) unmount() error       { return nil }
func (r remains) removeCgroups() error { return nil }

func (r remains) running(string) ([]int, error) { return nil, errNoLinux }
