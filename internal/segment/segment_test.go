package segment

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/vfs"
)

var (
	osFS    = vfs.OS
	sprintf = fmt.Sprintf
)

func golden(t testing.TB, path string) []byte {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

func unhex(t testing.TB, s string) []byte {
	data, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	require.NoError(t, err)
	return data
}

// record is a batch of count records of about size bytes together.
func record(base int64, epoch int32, count, size int) batch.Batch {
	var b batch.Builder
	b.Reset(nil, batch.Options{})
	value := make([]byte, max(1, size/count))
	for i := range value {
		value[i] = byte('a' + (int(base)+i)%26)
	}
	for i := range count {
		b.Append(1_700_000_000_000+base+int64(i), nil, value, nil)
	}
	done, err := b.Finish()
	if err != nil {
		panic(err)
	}
	done.SetBaseOffset(base)
	done.SetLeaderEpoch(epoch)
	return done
}

func asError[E error](err error) (E, bool) { return errors.AsType[E](err) }

// corruptOrNewer requires that err is one of this package's typed errors.
func corruptOrNewer(t testing.TB, err error) {
	if err == nil {
		return
	}
	_, isCorrupt := asError[*CorruptError](err)
	_, isNewer := asError[*VersionError](err)
	require.True(t, isCorrupt || isNewer, "%v", err)
}

func writeFile(t testing.TB, path string, data []byte) {
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

func openFile(t testing.TB, path string) vfs.File {
	f, err := osFS.OpenFile(path, os.O_RDONLY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}
