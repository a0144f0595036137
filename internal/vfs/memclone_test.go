package vfs_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

func TestACloneSharesUntilOneOfTheTwoIsWritten(t *testing.T) {
	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll("d/e", 0o700))
	a := create(t, m, "d/e/a", "")
	fill(t, a, "a", 0, 3*page)
	create(t, m, "d/b", "bbb")
	c := m.Clone()
	require.Equal(t, "a*12288", content(c, "d/e/a"))
	require.Equal(t, "b*3", content(c, "d/b"))

	fill(t, a, "x", page, 2) // the original
	require.Equal(t, "a*12288", content(c, "d/e/a"))
	require.Equal(t, "a*4096 x*2 a*8190", content(m, "d/e/a"))

	d := c.Clone() // a clone's clone
	f, err := c.OpenFile("d/e/a", os.O_RDWR, 0)
	require.NoError(t, err)
	fill(t, f, "y", 3*page, 1) // beyond the end
	require.NoError(t, f.Truncate(5))
	fill(t, f, "z", 7, 1)
	require.Equal(t, "a*5 0*2 z*1", content(c, "d/e/a"))
	require.Equal(t, "a*12288", content(d, "d/e/a"))

	require.NoError(t, d.Remove("d/b"))
	require.NoError(t, d.Rename("d/e/a", "d/a"))
	require.Equal(t, []string{"b", "e"}, names(t, c, "d"))
	require.Equal(t, []string{"a", "e"}, names(t, d, "d"))
}

func TestMappingsOfASharedFileShowItAndOutliveTheOther(t *testing.T) {
	m := vfs.NewMem()
	fill(t, create(t, m, "a", ""), "a", 0, 3*page)
	c := m.Clone()
	for _, fs := range []*vfs.Mem{m, c, c.Clone()} {
		f, err := fs.OpenFile("a", os.O_RDONLY, 0)
		require.NoError(t, err)
		r, err := f.Map(3 * page)
		require.NoError(t, err)
		require.NoError(t, fs.Remove("a"))
		require.Equal(t, byte('a'), r.Bytes()[3*page-1])
		require.NoError(t, r.Unmap())
		require.NoError(t, f.Close())
	}
}

func TestTheLocksAndHandlesOfACloneAreItsOwn(t *testing.T) {
	m := vfs.NewMem()
	held, err := m.Lock("lock")
	require.NoError(t, err)
	other, err := m.Clone().Lock("lock")
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.NoError(t, held.Close())
}
