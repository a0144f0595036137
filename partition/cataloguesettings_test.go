package partition

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

func TestSettingsAreSortedCopiesOfWhatWasPut(t *testing.T) {
	s, err := OpenMemory(Config{})
	require.NoError(t, err)
	require.Empty(t, s.Settings(""))
	value := []byte("secret")
	require.NoError(t, s.PutSettings(t.Context(), Setting{"kafka/scram/b", value}, Setting{"kafka/scram/a", []byte{}}, Setting{"other", []byte("x")}))
	value[0] = 'X'
	want := []Setting{{"kafka/scram/a", []byte{}}, {"kafka/scram/b", []byte("secret")}}
	got := s.Settings("kafka/scram/")
	require.Equal(t, want, got)
	got[1].Value[0] = 'Y'
	require.Equal(t, want, s.Settings("kafka/"))

	require.NoError(t, s.PutSettings(t.Context(), Setting{Key: "kafka/scram/b"}, Setting{Key: "never was"}, Setting{"other", []byte("y")}, Setting{"other", []byte("z")}))
	require.Equal(t, []Setting{{"kafka/scram/a", []byte{}}, {"other", []byte("z")}}, s.Settings(""))
	require.NoError(t, s.PutSettings(t.Context()))

	for _, bad := range []Setting{{"", nil}, {strings.Repeat("k", maxSettingKey+1), nil}, {"k", make([]byte, maxSettingValue+1)}} {
		require.ErrorIs(t, s.PutSettings(t.Context(), Setting{"good", []byte("1")}, bad), ErrInvalidConfig)
	}
	many := make([]Setting, 17)
	for i := range many {
		many[i] = Setting{fmt.Sprint(i), make([]byte, maxSettingValue)}
	}
	require.ErrorIs(t, s.PutSettings(t.Context(), many...), ErrMessageTooLarge)
	require.Len(t, s.Settings(""), 2, "none of a refused change")
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.PutSettings(t.Context(), Setting{"k", nil}), ErrClosed)
}

func TestVersionOfSettingsGrowsForTheAreaThatChangesOnly(t *testing.T) {
	s, err := OpenMemory(Config{})
	require.NoError(t, err)
	defer s.Close()
	put := func(key string) { require.NoError(t, s.PutSettings(t.Context(), Setting{key, []byte("1")})) }
	put("kafka/acl/1")
	put("kafka/quota/1")
	acl, quota, kafka, all := s.SettingsVersion("kafka/acl/"), s.SettingsVersion("kafka/quota/"), s.SettingsVersion("kafka/"), s.SettingsVersion("")
	put("kafka/acl/2")
	require.Greater(t, s.SettingsVersion("kafka/acl/"), acl)
	require.Equal(t, quota, s.SettingsVersion("kafka/quota/"))
	require.Greater(t, s.SettingsVersion("kafka/"), kafka)
	require.Greater(t, s.SettingsVersion(""), all)
	acl = s.SettingsVersion("kafka/acl/")
	_, err = s.CreateTopic(t.Context(), "t", TopicConfig{})
	require.NoError(t, err)
	require.Equal(t, acl, s.SettingsVersion(""), "a topic is no setting")
	require.NoError(t, s.PutSettings(t.Context(), Setting{Key: "kafka/acl/2"}))
	require.Greater(t, s.SettingsVersion("kafka/acl/"), acl, "a deletion is a change")
	for key, area := range map[string]string{"a": "", "a/b": "a/", "a/b/c": "a/b/", "a/b/c/d": "a/b/", "//x": "//"} {
		require.Equal(t, area, settingArea(key), key)
	}
}

func TestSettingsComeBackAfterCloseSnapshotAndReadOnly(t *testing.T) {
	dir, backup := t.TempDir(), filepath.Join(t.TempDir(), "backup")
	s, err := Open(dir, Config{})
	require.NoError(t, err)
	want := []Setting{{"a/b/c", []byte{0, 1}}, {"a/b/d", []byte{}}}
	require.NoError(t, s.PutSettings(t.Context(), append(want, Setting{"x", []byte("y")})...))
	require.NoError(t, s.PutSettings(t.Context(), Setting{Key: "x"}))
	require.NoError(t, s.Snapshot(t.Context(), backup))
	require.NoError(t, s.journal.Compact(s.cat.encode())) // the other form in which they are on the disk
	require.NoError(t, s.PutSettings(t.Context(), Setting{"z", []byte("z")}))
	require.NoError(t, s.Close())
	for path, settings := range map[string][]Setting{dir: append(want, Setting{"z", []byte("z")}), backup: want} {
		for _, open := range []func(string, Config) (*Store, error){OpenReadOnly, Open} {
			again, err := open(path, Config{})
			require.NoError(t, err)
			require.Equal(t, settings, again.Settings(""))
			if again.readOnly {
				require.ErrorIs(t, again.PutSettings(t.Context(), want...), ErrReadOnly)
			}
			require.NoError(t, again.Close())
		}
	}
}

// Before every operation that changes to settings make on the disk, and every state of it that a loss of power may leave,
// the store that opens has all of a change or none of it, and never less than what PutSettings had returned from.
func TestSettingsAreThereAllOrNoneAfterAnyCrash(t *testing.T) {
	states := 0
	for _, profile := range []vfs.Profile{vfs.Strict, vfs.Ext4Like} {
		mem := vfs.NewCrashMem(profile)
		fault := vfs.NewFault(mem)
		s, err := Open("/store", Config{FS: fault})
		require.NoError(t, err)
		generation := func(n int) (out []Setting) {
			for i := range 3 {
				out = append(out, Setting{fmt.Sprintf("kafka/x/%d", i), fmt.Appendf(nil, "%d", n)})
			}
			return append(out, Setting{fmt.Sprintf("kafka/y/%d", n), []byte{}}, Setting{Key: fmt.Sprintf("kafka/y/%d", n-1)})
		}
		acknowledged := 0
		check := func(after *vfs.Mem, where string) {
			again, err := Open("/store", Config{FS: after})
			require.NoError(t, err, where)
			defer again.Close()
			got := again.Settings("")
			if len(got) == 0 {
				require.Zero(t, acknowledged, where)
				return
			}
			require.Len(t, got, 4, where)
			require.Contains(t, []string{fmt.Sprint(acknowledged), fmt.Sprint(acknowledged + 1)}, string(got[0].Value), where)
			for i := range 3 {
				require.Equal(t, got[0].Value, got[i].Value, where)
			}
			require.Equal(t, "kafka/y/"+string(got[0].Value), got[3].Key, where)
		}
		seen := map[uint64]bool{}
		fault.OnOp(func(op vfs.Op) {
			mem.EachCrash(8, func(after *vfs.Mem, label string) bool {
				if hash := after.Hash() ^ uint64(acknowledged)*0x9e3779b97f4a7c15; !seen[hash] {
					seen[hash] = true
					states++
					check(after, fmt.Sprintf("after change %d, before %v, kept %s", acknowledged, op, label))
				}
				return true
			})
		})
		for n := 1; n <= 6; n++ {
			require.NoError(t, s.PutSettings(t.Context(), generation(n)...))
			acknowledged = n
			if n == 3 {
				s.mu.Lock()
				require.NoError(t, s.journal.Compact(s.cat.encode()))
				s.mu.Unlock()
			}
		}
		fault.OnOp(nil)
		require.NoError(t, s.Close())
	}
	t.Logf("crash states: %d distinct, 0 half done", states)
}

// A change whose write fails has not happened as far as the store says; if it turns out to be on the disk, it comes true whole, and the
// version says so.
func TestAFailedChangeOfSettingsIsThereWholeOrNotAtAll(t *testing.T) {
	cameTrue := 0
	for _, rule := range []vfs.Rule{{Op: vfs.OpWrite}, {Op: vfs.OpSync}, {Op: vfs.OpWrite, Short: 7}, {Op: vfs.OpSync, Effect: true}, {Op: vfs.OpWrite, Effect: true}} {
		fault := vfs.NewFault(vfs.NewMem())
		s, err := Open("/store", Config{FS: fault})
		require.NoError(t, err)
		require.NoError(t, s.PutSettings(t.Context(), Setting{"a/a/1", []byte("old")}, Setting{"a/a/2", []byte("old")}))
		fault.Add(rule)
		before := s.SettingsVersion("")
		require.Error(t, s.PutSettings(t.Context(), Setting{"a/a/1", []byte("new")}, Setting{"a/a/2", []byte("new")}))
		require.Equal(t, "old", string(s.Settings("")[0].Value))
		require.Equal(t, before, s.SettingsVersion(""))
		fault.Clear()
		require.NoError(t, s.PutSettings(t.Context(), Setting{"b", []byte("next")}))
		got := s.Settings("a/")
		require.Equal(t, got[0].Value, got[1].Value)
		want := before + 1
		if string(got[0].Value) == "new" {
			want++
			cameTrue++
		}
		require.Equal(t, want, s.SettingsVersion(""))
		require.NoError(t, s.Close())
	}
	require.NotZero(t, cameTrue, "one of them did come true")
}

// The bytes of an entry and of a snapshot with settings: readable for ever.
func TestSettingsOfTheirFirstFormatAreStillRead(t *testing.T) {
	const entry = "04" + "066b2f31" + "01" + "020a" + "066b2f32" + "00" + "00"
	var e encoder
	e.changes([]Setting{{"k/1", []byte{10}}, {Key: "k/2"}})
	require.Equal(t, entry, hex.EncodeToString(e.buf))
	const empty = "0200000000000000000000000000000000000000000000000000000000000000000000000000"
	c := newCatalogue()
	require.Equal(t, empty, hex.EncodeToString(c.encode()), "without settings as before there were any")
	require.NoError(t, c.apply(eventSettings, e.buf))
	snapshot := "04" + empty[2:] + "00" + "02" + "066b2f31" + "020a"
	require.Equal(t, snapshot, hex.EncodeToString(c.encode()))
	state, err := hex.DecodeString(snapshot)
	require.NoError(t, err)
	d := newCatalogue()
	require.NoError(t, d.restore(state))
	require.Equal(t, map[string]string{"k/1": "\n"}, d.settings)
	for n := range state[1:] {
		require.Error(t, newCatalogue().restore(state[:n]), "cut at %d", n)
	}
	require.Error(t, d.apply(eventSettings, e.buf[:len(e.buf)-1]))
	require.Equal(t, map[string]string{"k/1": "\n"}, d.settings, "nothing of an entry that is cut")
}
