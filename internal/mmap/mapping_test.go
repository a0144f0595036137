package mmap_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/mmap"
)

type fakeRegion struct{ unmapped atomic.Int32 }

func (r *fakeRegion) Bytes() []byte               { return []byte("bytes") }
func (r *fakeRegion) Populate(int64, int64) error { return nil }
func (r *fakeRegion) Unmap() error                { r.unmapped.Add(1); return nil }

func TestMappingLivesUntilOwnerAndReadersHaveGone(t *testing.T) {
	r := &fakeRegion{}
	m := mmap.NewMapping(r)
	after := 0
	m.AfterUnmap(func() { after++ })
	require.True(t, m.Acquire())
	require.True(t, m.Acquire())
	require.EqualValues(t, 2, m.Readers())
	m.Release()
	m.Retire()
	m.Retire()
	require.Zero(t, r.unmapped.Load())
	require.EqualValues(t, 1, m.Readers())
	require.True(t, m.Acquire(), "a reader that comes while another holds it is let in")
	m.Release()
	m.Release()
	require.EqualValues(t, 1, r.unmapped.Load())
	require.Equal(t, 1, after)
	require.False(t, m.Acquire())
	require.PanicsWithValue(t, "BUG: mapping released more often than acquired", m.Release)
}

func TestMappingIsUnmappedOnceUnderContention(t *testing.T) {
	for range 200 {
		r := &fakeRegion{}
		m := mmap.NewMapping(r)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					if !m.Acquire() {
						return
					}
					if r.unmapped.Load() != 0 {
						t.Error("acquired after it was unmapped")
					}
					m.Release()
				}
			})
		}
		wg.Go(m.Retire)
		wg.Wait()
		require.EqualValues(t, 1, r.unmapped.Load())
	}
}

func TestBudgetIsNeverExceeded(t *testing.T) {
	b := mmap.NewBudget(2)
	require.True(t, b.Reserve())
	require.True(t, b.Reserve())
	require.False(t, b.Reserve())
	require.Equal(t, 2, b.InUse())
	b.Return()
	require.True(t, b.Reserve())
	b.Return()
	b.Return()
	require.Panics(t, b.Return)
	require.False(t, mmap.NewBudget(0).Reserve())

	b = mmap.NewBudget(3)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if b.Reserve() {
					if n := b.InUse(); n > 3 {
						t.Errorf("%d in use", n)
					}
					b.Return()
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, b.InUse())
}
