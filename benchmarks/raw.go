package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// rawStore is the physical limit: the same bytes that partlog would write, ready made, to an equally prepared file.
type rawStore struct {
	shape shape
	lanes []rawLane
}

type rawLane struct {
	f        *os.File
	position int64
	prepared int64
	step     int64
	ready    []byte
	_        [64]byte
}

// readyBytes is a batch's worth of bytes: a record batch v2 adds 61 bytes of header, and about 10 for a record.
func readyBytes(s shape) []byte { return newPayload(61 + s.batch*(s.size+10)) }

func openRaw(dir string, s shape) (store, error) {
	r := &rawStore{shape: s, lanes: make([]rawLane, s.workers)}
	for i := range r.lanes {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return nil, err
		}
		r.lanes[i] = rawLane{f: f, step: 64 << 10, ready: readyBytes(s)}
	}
	return r, nil
}

func (r *rawStore) append(w int, _ [][]byte) error {
	l := &r.lanes[w]
	if r.shape.sync && l.position+int64(len(l.ready)) > l.prepared {
		if err := l.prepare(); err != nil {
			return err
		}
	}
	if _, err := unix.Pwrite(int(l.f.Fd()), l.ready, l.position); err != nil {
		return err
	}
	l.position += int64(len(l.ready))
	if r.shape.sync {
		return unix.Fdatasync(int(l.f.Fd()))
	}
	return nil
}

// prepare zero-fills ahead as partlog does for synced partitions: steps that double from 64 KiB to 16 MiB, and none before
// writes so large that it does not pay.
func (l *rawLane) prepare() error {
	if len(l.ready) > 128<<10 {
		return nil
	}
	for l.position+int64(len(l.ready)) > l.prepared {
		if _, err := unix.Pwrite(int(l.f.Fd()), make([]byte, l.step), l.prepared); err != nil {
			return err
		}
		l.prepared += l.step
		l.step = min(2*l.step, 16<<20)
	}
	return nil
}

// close makes everything durable, as the close of a store does; it is part of every run.
func (r *rawStore) close() error {
	for i := range r.lanes {
		f := r.lanes[i].f
		if err := errors.Join(unix.Fdatasync(int(f.Fd())), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
