package partition_test

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
	"github.com/stretchr/testify/require"
)

// The crash loop. Scripts run on a disk that remembers what has been synced; before every operation that changes it,
// the disk is taken as a kill of the process and as a loss of power may leave it, opened, and compared with what had
// been promised by then: records, their bytes, order and offsets, topics, log start offsets, producer ids. The open
// itself is crashed too, and some of the stores are used afterwards.
//
// PARTLOG_SOAK=duration goes on for that long with more crashes, and random scripts without end.

var tortureModes = []partition.SyncMode{partition.SyncAlways, partition.SyncInterval(500 * time.Millisecond), partition.SyncNever}

// soak returns what PARTLOG_SOAK says, 0 without it.
func soak(t testing.TB) time.Duration {
	v := os.Getenv("PARTLOG_SOAK")
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v)
	require.NoError(t, err, "PARTLOG_SOAK")
	return d
}

// bases returns the disks that scripts begin with, in every mode: an empty one, and one with topic a.
func bases(t *testing.T, sc script) (all []*base) {
	for _, profile := range []vfs.Profile{vfs.Strict, vfs.Ext4Like} {
		for _, mode := range tortureModes {
			b, err := newBase(profile, mode, sc)
			require.NoError(t, err)
			all = append(all, b)
		}
	}
	return all
}

func TestNothingPromisedIsLostInAnyCrashOfAnyShortScript(t *testing.T) {
	alphabet, depth, each, deep := "piLtdbcx", 3, 1, 0
	began, limit := time.Now(), soak(t)
	switch {
	case testing.Short() || raceEnabled:
		depth = 2
	case limit > 0:
		alphabet, each, deep = "pilLtrdbagckx", 8, 1
	}
	s := newStates(t, deep)
	for i, b := range bases(t, "apiL") {
		for n := 1; n <= depth; n++ {
			if n == 3 && i >= len(tortureModes) && limit == 0 {
				break // what POSIX allows, ext4 does
			}
			on := eachScript(alphabet, n, func(sc script) bool {
				err := s.runScript(b, sc, 1, each, false)
				require.NoError(t, err)
				if limit > 0 && time.Since(began) > limit {
					t.Logf("stopped by PARTLOG_SOAK in scripts of %d steps, %s, sync %s", n, b.name, b.mode)
					return false
				}
				return s.failed.Load() == nil
			})
			if !on {
				s.finish()
				return
			}
		}
	}
	s.finish()
}

func TestNothingPromisedIsLostInAnyCrashOfARandomScript(t *testing.T) {
	limit := soak(t)
	s := newStates(t, 2)
	empty, used := bases(t, ""), bases(t, "apiLbo")
	began := time.Now()
	for seed := uint64(1); s.failed.Load() == nil; seed++ {
		if limit == 0 && seed > 40 || limit > 0 && time.Since(began) > limit || (testing.Short() || raceEnabled) && seed > 12 {
			break
		}
		rng := rand.New(rand.NewPCG(seed, 3))
		from := used
		if seed%4 == 0 {
			from = empty
		}
		sc := randomScript(rng, 4+rng.IntN(20))
		if seed%4 == 0 {
			sc = "a" + sc
		}
		require.NoError(t, s.runScript(from[rng.IntN(len(from))], sc, seed, 2, true))
	}
	s.finish()
}
