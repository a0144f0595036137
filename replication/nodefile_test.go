package replication

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/control"
)

func TestAnIncarnationIsTakenOverUntilItsRegistrationWasAnswered(t *testing.T) {
	a, b, c, d := [16]byte{'a'}, [16]byte{'b'}, [16]byte{'c'}, [16]byte{'d'}
	f := nodeFile{Epoch: control.NoEpoch}.next(true, a)
	require.Equal(t, a[:], f.Incarnation, "there was none")
	f = f.next(true, b)
	require.Equal(t, a[:], f.Incarnation, "nothing was done under it")
	f = f.next(true, b)
	require.Equal(t, a[:], f.Incarnation, "however often")
	f.Confirmed, f.Epoch = true, 7
	f = f.next(true, b)
	require.Equal(t, b[:], f.Incarnation)
	require.False(t, f.Confirmed)
	require.EqualValues(t, 7, f.Epoch)
	f = f.next(false, c)
	require.Equal(t, c[:], f.Incarnation, "what is missing now was not then")
	require.True(t, f.Unclean)
	f = f.next(true, d)
	require.Equal(t, d[:], f.Incarnation)
	require.True(t, f.Unclean, "until the controller knows it")
}
