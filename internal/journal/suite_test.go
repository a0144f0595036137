package journal

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// The conformance suite runs on both storages. Files are damaged through the same vfs.FS that holds them.

// home is a directory for a journal.
type home struct {
	fs  vfs.FS
	dir string
}

// homes are the storages under test.
var homes = map[string]func(t *testing.T) home{
	"tidwall": func(t *testing.T) home { return home{vfs.OS, filepath.Join(fastDir(t), "journal")} },
	"onefile": func(t *testing.T) home { return home{vfs.NewMem(), "/journal"} },
}

// fastDir is a real directory, in memory where the system has one, because the sweeps sync tens of thousands of times.
func fastDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "journal")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func onBoth(t *testing.T, test func(t *testing.T, h home)) {
	for name, place := range homes {
		t.Run(name, func(t *testing.T) { test(t, place(t)) })
	}
}

// catalogue is an owner whose state is the list of all entries, so that a missing, doubled or invented one shows.
type catalogue struct{ lines []string }

func (c *catalogue) encode() []byte { return []byte(strings.Join(c.lines, "\n")) }

func (c *catalogue) restore(b []byte) error {
	c.lines = nil
	if len(b) > 0 {
		c.lines = strings.Split(string(b), "\n")
	}
	return nil
}

func (c *catalogue) apply(e Entry) error {
	if int(e.Index) != len(c.lines)+1 {
		return fmt.Errorf("entry %d after %d", e.Index, len(c.lines))
	}
	c.lines = append(c.lines, fmt.Sprintf("%d:%s", e.Kind, e.Payload))
	return nil
}

func (h home) options(c *catalogue) Options {
	return Options{FS: h.fs, Dir: h.dir, SegmentBytes: 300, Snapshot: c.restore, Replay: c.apply}
}

func (h home) open() (*Journal, *catalogue, *Recovery, error) {
	c := &catalogue{}
	j, r, err := Open(h.options(c))
	return j, c, r, err
}

func (h home) mustOpen(t *testing.T) (*Journal, *catalogue, *Recovery) {
	t.Helper()
	j, c, r, err := h.open()
	require.NoError(t, err)
	return j, c, r
}

// add appends n entries to the journal and the owner's state.
func add(t *testing.T, j *Journal, c *catalogue, n int) {
	t.Helper()
	for range n {
		e := nextEntry(c)
		index, err := j.Append(e.Kind, e.Payload)
		require.NoError(t, err)
		require.Equal(t, e.Index, index)
		require.NoError(t, c.apply(e))
	}
}

// nextEntry is the entry after those of c; sizes vary.
func nextEntry(c *catalogue) Entry {
	n := len(c.lines) + 1
	return Entry{uint64(n), uint8(n % 5), fmt.Appendf(nil, "change %d %s", n, strings.Repeat("x", n*7%40))}
}

func (h home) names(t *testing.T) []string {
	t.Helper()
	files, err := h.fs.ReadDir(h.dir)
	require.NoError(t, err)
	var names []string
	for _, f := range files {
		if f.Name() != lockName {
			names = append(names, f.Name())
		}
	}
	slices.Sort(names)
	return names
}

func (h home) read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := readFile(h.fs, join(h.dir, name), false)
	require.NoError(t, err)
	return b
}

func (h home) write(t *testing.T, name string, b []byte) {
	t.Helper()
	f, err := h.fs.OpenFile(join(h.dir, name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, fileMode)
	require.NoError(t, err)
	_, err = f.WriteAt(b, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// image is all files of a directory.
type image map[string][]byte

func (h home) image(t *testing.T) image {
	t.Helper()
	m := image{}
	for _, name := range h.names(t) {
		m[name] = h.read(t, name)
	}
	return m
}

// with returns an image that differs in one file; nil removes it.
func (m image) with(name string, b []byte) image {
	d := maps.Clone(m)
	if d[name] = b; b == nil {
		delete(d, name)
	}
	return d
}

// requireImage checks that the directory holds exactly the image.
func (h home) requireImage(t *testing.T, want image, label string) {
	t.Helper()
	if got := h.image(t); !maps.EqualFunc(want, got, slices.Equal) {
		require.Equal(t, want, got, label)
	}
}

// reset makes the directory hold exactly the image.
func (h home) reset(t *testing.T, m image) {
	t.Helper()
	if err := h.fs.RemoveAll(h.dir); err != nil {
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	require.NoError(t, h.fs.MkdirAll(h.dir, directoryMode))
	for name, b := range m {
		h.write(t, name, b)
	}
}

// tail returns the name of the file that is being appended to.
func (h home) tail(t *testing.T) string {
	t.Helper()
	last := ""
	for _, name := range h.names(t) {
		if kind, _ := parseName(name); kind == segmentFile || kind == entriesFile {
			last = name
		}
	}
	require.NotEmpty(t, last)
	return last
}

// usable checks that a journal that opened takes entries and gives them back, and closes it.
func (h home) usable(t *testing.T, j *Journal, c *catalogue, label ...any) {
	t.Helper()
	add(t, j, c, 2)
	require.NoError(t, j.Close(), label...)
	again, found, r := h.mustOpen(t)
	require.Equal(t, c.lines, found.lines, label...)
	require.False(t, r.Repaired(), "%v %+v", label, r.Findings)
	require.NoError(t, again.Close(), label...)
}

// refused checks that an error is one of the typed ones.
func refused(t *testing.T, err error, label ...any) {
	t.Helper()
	if _, ok := asCorrupt(err); ok {
		require.ErrorIs(t, err, ErrCorrupt, label...)
		return
	}
	require.ErrorIs(t, err, ErrNewerVersion, label...)
}

var _ io.Closer = (*Journal)(nil)
