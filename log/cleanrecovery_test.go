package log

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// Kafka's cleaner leaves segments that end before the next one begins. In a copy that is no loss; in a log of ours, where only a
// loss of power leaves that, what is behind goes, as a log is a prefix of what was written to it.
func TestSegmentsThatACleanerHasShortenedAreNoLossInACopy(t *testing.T) {
	shortened := func() (*disk, Config) {
		m := vfs.NewMem()
		l, c, _ := dirtyLog(t, m)
		l.Abandon()
		d := &disk{t: t, fs: m, dir: c.Dir}
		data := d.read(segment.LogName(3))
		first := int(data[11]) + 12 // the size of its first batch
		d.write(segment.LogName(3), data[:first])
		return d, c
	}
	all := []string{"0:a=0", "1:b=0", "2:c0=1", "3:a=1", "4:b=1", "6:a=2", "7:b=2", "8:c2=1"}
	for _, mode := range []SyncMode{SyncAlways, SyncNever} {
		for _, copied := range []bool{true, false} {
			_, c := shortened()
			c.Copied, c.Settings.Sync = copied, mode
			l, report, err := Open(c)
			require.NoError(t, err)
			if !copied && mode == SyncNever {
				require.Equal(t, all[:5], contents(t, l))
				continue
			}
			require.Empty(t, report.Findings)
			require.Equal(t, all, contents(t, l))
			put(t, l, keyed{"d", "1"})
			require.NoError(t, l.Close())
			c.Clean, c.CleanEnd = true, l.End()
			l = open(t, c)
			require.Equal(t, append(all[:8:8], "9:d=1"), contents(t, l))
			require.Empty(t, l.Report().Findings)
			roll(t, l)
			clean(t, l)
			require.Equal(t, []string{"2:c0=1", "6:a=2", "7:b=2", "8:c2=1", "9:d=1"}, contents(t, l))
		}
	}
}

// What a crash, or a broker, may have left of an exchange, whether it went on or back.
func TestInterruptedExchangesAreFinishedOrTakenBack(t *testing.T) {
	// old and new are the log's files before and after a cleaning.
	m := vfs.NewMem()
	l, c, cleaned := dirtyLog(t, m)
	before := contents(t, l)
	d := &disk{t: t, fs: m, dir: c.Dir}
	old := map[string][]byte{}
	for _, base := range []int64{0, 3, 6, 9} {
		old[segment.LogName(base)] = d.read(segment.LogName(base))
	}
	clean(t, l)
	l.Abandon()
	name := segment.LogName(0)
	fresh := d.read(name)
	damaged := append([]byte(nil), fresh...)
	damaged[len(damaged)-1] ^= 1
	for what, test := range map[string]struct {
		files map[string][]byte
		want  []string
		left  string // that stays
	}{
		"being written":          {map[string][]byte{name: old[name], name + ".cleaned": fresh[:40]}, before, ""},
		"written":                {map[string][]byte{name: old[name], name + ".cleaned": fresh}, before, ""},
		"caches renamed":         {map[string][]byte{name: old[name], name + ".cleaned": fresh, "00000000000000000000.index.swap": {}}, before, ""},
		"committed":              {map[string][]byte{name: old[name], name + ".swap": fresh}, cleaned, ""},
		"old ones set aside":     {map[string][]byte{name + ".deleted": old[name], name + ".swap": fresh, segment.LogName(3): nil}, cleaned, ""},
		"done, old ones there":   {map[string][]byte{name: fresh, segment.LogName(3): nil, segment.LogName(6): nil, name + ".deleted": old[name]}, cleaned, ""},
		"damaged":                {map[string][]byte{name: old[name], name + ".swap": damaged}, before, name + ".swap"},
		"damaged, old set aside": {map[string][]byte{name + ".deleted": old[name], name + ".swap": damaged}, before, name + ".swap"},
		"by a broker, uncertain": {map[string][]byte{name: old[name], name + ".swap": fresh, "00000000000000000000.index.cleaned": {}}, before, ""},
	} {
		for _, look := range []bool{true, false} {
			m := vfs.NewMem()
			require.NoError(t, m.MkdirAll(testDir, 0o700))
			d := &disk{t: t, fs: m, dir: testDir}
			for file, data := range old {
				if file != name {
					if _, other := test.files[file]; !other {
						d.write(file, data)
					}
				}
			}
			for file, data := range test.files {
				if data != nil {
					d.write(file, data)
				}
			}
			c.FS, c.ReadOnly, c.Clean, c.RecoveryPoint, c.Cleaned = m, look, false, 0, 0
			if look && what == "damaged, old set aside" {
				continue // nothing can be put back by somebody who only looks
			}
			l := open(t, c)
			require.Equal(t, test.want, contents(t, l), what)
			l.Abandon()
			if look {
				continue
			}
			for _, file := range names(t, m) {
				if file != test.left {
					require.NotRegexp(t, `\.(cleaned|swap|deleted)$`, file, what)
				}
			}
			c.ReadOnly = false
			l = open(t, c)
			require.Equal(t, test.want, contents(t, l), what)
			clean(t, l)
			require.Equal(t, cleaned, contents(t, l), what)
			require.NoError(t, l.Close())
		}
	}
}
