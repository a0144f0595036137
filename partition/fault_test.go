package partition_test

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
	"github.com/stretchr/testify/require"
)

// The fault matrix: a script that uses everything runs once for every operation of the disk that can fail, in every way
// in which it can, once and for ever. Calls return errors that say what happened; what was acknowledged can be read, now
// and after a reopen, a kill or a power loss; when the disk works again so does the store, but for partitions of which a
// sync has failed, until they are opened again.

const faultScript = "pLitoLbpdLrgbilpaLao"

func faultCases() (cases []faultCase) {
	for _, forever := range []bool{false, true} {
		add := func(name string, r vfs.Rule) {
			r.Forever = forever
			cases = append(cases, faultCase{name: name, rule: r, free: -1})
		}
		add("write without space", vfs.Rule{Op: vfs.OpWrite, Err: syscall.ENOSPC})
		add("short write without space", vfs.Rule{Op: vfs.OpWrite, Err: syscall.ENOSPC, Short: 70})
		add("failed write", vfs.Rule{Op: vfs.OpWrite, Err: syscall.EIO})
		add("torn write", vfs.Rule{Op: vfs.OpWrite, Err: syscall.EIO, Short: 100})
		add("write that was made and failed", vfs.Rule{Op: vfs.OpWrite, Err: syscall.EIO, Effect: true})
		add("failed sync", vfs.Rule{Op: vfs.OpSync, Err: syscall.EIO})
		add("failed sync that loses what was written", vfs.Rule{Op: vfs.OpSync, Err: syscall.EIO, Lose: true})
		add("sync that was made and failed", vfs.Rule{Op: vfs.OpSync, Err: syscall.EIO, Effect: true})
		add("sync without space", vfs.Rule{Op: vfs.OpSync, Err: syscall.ENOSPC})
		add("failed sync of a directory", vfs.Rule{Op: vfs.OpSyncDir, Err: syscall.EIO})
		add("failed rename", vfs.Rule{Op: vfs.OpRename, Err: syscall.EIO})
		add("rename that was made and failed", vfs.Rule{Op: vfs.OpRename, Err: syscall.EIO, Effect: true})
		add("failed create", vfs.Rule{Op: vfs.OpCreate, Err: syscall.EIO})
		add("create without space", vfs.Rule{Op: vfs.OpCreate | vfs.OpMkdir, Err: syscall.ENOSPC})
		add("failed truncate", vfs.Rule{Op: vfs.OpTruncate, Err: syscall.EIO})
		add("failed remove", vfs.Rule{Op: vfs.OpRemove, Err: syscall.EIO})
		add("failed read", vfs.Rule{Op: vfs.OpRead, Err: syscall.EIO})
		add("failed open", vfs.Rule{Op: vfs.OpOpen, Err: syscall.EMFILE})
		add("failed mapping", vfs.Rule{Op: vfs.OpMap, Err: syscall.ENOMEM})
		add("failed stat", vfs.Rule{Op: vfs.OpStat | vfs.OpReadDir | vfs.OpSize | vfs.OpUsage, Err: syscall.EIO})
	}
	return append(cases, faultCase{name: "full disk", rule: vfs.Rule{Err: syscall.ENOSPC}})
}

func TestAnyFailureOfTheDiskCostsNothingAcknowledged(t *testing.T) {
	for i, mode := range tortureModes {
		b, err := newBase(vfs.Strict, mode, "apiLb")
		require.NoError(t, err)
		stride := 1
		switch {
		case testing.Short() || raceEnabled:
			stride = 7
		case i > 0 && soak(t) == 0:
			stride = 3
		}
		faultMatrix(t, b, faultScript, faultCases(), stride)
	}
}

// An open that fails changes nothing that matters: the next one, on a disk that works, finds everything.
func TestAnyFailureInAnOpenIsUndoneByTheNext(t *testing.T) {
	for _, mode := range tortureModes {
		b, err := newBase(vfs.Strict, mode, "apiLbo")
		require.NoError(t, err)
		g := newRig(b.disk, mode, b.ledger)
		require.NoError(t, g.open())
		state := newScriptState(1)
		for _, step := range []byte("pLLodp") {
			require.NoError(t, steps[step].run(g, state))
			g.markVisibleLocked()
		}
		g.fault.OnOp(nil)
		unclean, promised := g.mem.KillClone(), g.ledger.clone()
		for _, c := range faultCases() {
			if c.free >= 0 {
				continue
			}
			for c.rule.Nth = 1; ; c.rule.Nth++ {
				if c.rule.Nth > 3 && (testing.Short() || raceEnabled) {
					break
				}
				disk := unclean.KillClone()
				fault := vfs.NewFault(disk)
				armed := fault.Add(c.rule)
				s, err := partition.Open("/store", tortureConfig(fault, mode, clock.NewManual(tortureEpoch)))
				if err != nil {
					require.True(t, errors.Is(err, c.rule.Err) || errors.Is(err, partition.ErrNoSpace), "%s: %v", c, err)
				} else {
					_ = s.Close() // its partitions may be broken, and say so
				}
				lost := killed
				if fault.Failed(vfs.OpSync) > 0 {
					lost = powerLost // and a failed sync may have taken with it what was only in the page cache
				}
				after := newRig(disk, mode, promised.clone())
				require.NoError(t, after.open(), "%s, then opened again", c)
				if report := after.store.RecoveryReport(); report != nil {
					require.Empty(t, report.Failed, "%s, then opened again", c)
				}
				_, err = after.read.check(after.store, after.ledger, lost)
				require.NoError(t, err, "%s, then opened again", c)
				require.NoError(t, after.store.Close(), "%s", c)
				if armed.Hits() == 0 {
					break
				}
			}
		}
	}
}

// The sync of one partition fails: it takes no more appends, also when the disk works again, and never says that
// something was written; the others go on; the close is not clean; a reopen heals it.
func TestPoisonedPartitionStaysPoisonedUntilReopen(t *testing.T) {
	for _, lose := range []bool{false, true} {
		b, err := newBase(vfs.Strict, partition.SyncAlways, "ap")
		require.NoError(t, err)
		g := newRig(b.disk, b.mode, b.ledger)
		g.n = b.n
		require.NoError(t, g.open())
		g.fault.Add(vfs.Rule{Op: vfs.OpSync, Path: "/store/data/a-0/*.log", Err: syscall.EIO, Lose: lose})
		err = g.append(tpPlain, g.makeBatch(2, 50, -1, 0), partition.AcksAll)
		require.ErrorIs(t, err, partition.ErrStorage)
		require.ErrorIs(t, err, syscall.EIO, "the reason is told")
		g.fault.Clear()
		for range 3 {
			doubt := g.part(tpPlain).pending
			err := g.append(tpPlain, g.makeBatch(1, 50, -1, 0), partition.AcksAll)
			require.ErrorIs(t, err, partition.ErrStorage)
			g.part(tpPlain).pending = doubt // a refused append is not there; the one whose sync failed may be
			require.NoError(t, g.append(tpIdem, g.makeBatch(1, 50, -1, 0), partition.AcksAll), "another partition")
		}
		hw, err := g.store.ListOffsets(bg, tpPlain, partition.TimestampLatest)
		require.NoError(t, err)
		require.Equal(t, g.part(tpPlain).written, hw, "what was not synced is not shown")
		require.Error(t, g.store.Close())
		_, err = g.mem.Stat("/store/data/.kafka_cleanshutdown")
		require.Error(t, err, "no marker of a clean shutdown")
		after := g.mem.KillClone()
		if lose {
			after = g.mem.CrashClone(rand.New(rand.NewPCG(1, 1)))
		}
		g.mem = after
		require.NoError(t, g.open())
		require.NotNil(t, g.store.RecoveryReport())
		_, err = g.read.check(g.store, g.ledger, powerLost)
		require.NoError(t, err)
		_, err = g.store.Append(bg, partition.AppendRequest{TopicPartition: tpPlain, Batch: g.makeBatch(1, 50, -1, 0)})
		require.NoError(t, err, "healed")
		require.NoError(t, g.store.Close())
	}
}
