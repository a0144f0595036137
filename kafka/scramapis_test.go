package kafka

import (
	"fmt"
	"strings"
	"testing"

	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func upsertion(t testing.TB, name string, m scramMechanism, iterations int32, password string) kmsg.AlterUserSCRAMCredentialsRequestUpsertion {
	u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	u.Name, u.Mechanism, u.Iterations, u.Salt = name, int8(m), iterations, []byte("salt")
	if iterations > 0 && iterations < 100_000 {
		u.SaltedPassword = saltedPassword(t, password, u.Salt, int(iterations))
	}
	return u
}

func deletion(name string, m scramMechanism) kmsg.AlterUserSCRAMCredentialsRequestDeletion {
	d := kmsg.NewAlterUserSCRAMCredentialsRequestDeletion()
	d.Name, d.Mechanism = name, int8(m)
	return d
}

func TestCredentialsThatAClientAltersAreLoggedInWith(t *testing.T) {
	f := newFortress(t, Config{}, ListenerConfig{Protocol: SASLPlaintext, Users: map[string]Password{"admin": "a"}})
	admin := f.as("admin")
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	req.Upsertions = append(req.Upsertions, upsertion(t, "carol", scramSHA256, 4096, "pencil"))
	resp := admin.ask(0, req).(*kmsg.AlterUserSCRAMCredentialsResponse)
	require.Len(t, resp.Results, 1)
	require.Zero(t, resp.Results[0].ErrorCode)
	require.Nil(t, resp.Results[0].ErrorMessage)
	require.Zero(t, f.dial().login(scramClient(t, wire.MechanismScramSHA256, "carol", "pencil")).ErrorCode)

	req = kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	req.Deletions = append(req.Deletions, deletion("carol", scramSHA256))
	require.Zero(t, admin.ask(0, req).(*kmsg.AlterUserSCRAMCredentialsResponse).Results[0].ErrorCode)
	require.Equal(t, codeSASLAuthenticationFailed, f.dial().login(scramClient(t, wire.MechanismScramSHA256, "carol", "pencil")).ErrorCode)
}

func TestCredentialsAreRefusedOneByOneAsKafkaDoes(t *testing.T) {
	f := newFortress(t, Config{}, ListenerConfig{})
	putUser(t, f.server, "there", wire.MechanismScramSHA256, "p")
	p := f.dial()
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	empty := upsertion(t, "empty", scramSHA256, 4096, "p")
	empty.SaltedPassword = nil
	req.Deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion{deletion("missing", scramSHA256), deletion("there", scramSHA512), deletion("", scramSHA256), deletion("unknown", 3), deletion("both", scramSHA256)}
	req.Upsertions = []kmsg.AlterUserSCRAMCredentialsRequestUpsertion{
		upsertion(t, "few", scramSHA256, 4095, "p"), upsertion(t, "many", scramSHA256, 16385, "p"), upsertion(t, "twice", scramSHA256, 4096, "p"), upsertion(t, "twice", scramSHA512, 4096, "p"),
		upsertion(t, "good", scramSHA256, 16384, "p"), upsertion(t, "strange", 0, 4096, "p"), empty, upsertion(t, "both", scramSHA256, 4096, "p"), upsertion(t, strings.Repeat("n", 901), scramSHA256, 4096, "p"),
	}
	resp := p.ask(0, req).(*kmsg.AlterUserSCRAMCredentialsResponse)
	got := map[string]string{}
	for _, r := range resp.Results {
		text := ""
		if r.ErrorMessage != nil {
			text = *r.ErrorMessage
		}
		_, twice := got[r.User]
		require.False(t, twice)
		got[r.User] = fmt.Sprint(r.ErrorCode, " ", text)
	}
	require.Equal(t, map[string]string{
		"missing": "91 Attempt to delete a user credential that does not exist",
		"there":   "91 Attempt to delete a user credential that does not exist",
		"":        "93 Username must not be empty",
		"unknown": "33 Unknown SCRAM mechanism",
		"both":    "91 Attempt to delete a user credential that does not exist",
		"few":     "93 Too few iterations",
		"many":    "93 Too many iterations",
		"twice":   "92 A user credential cannot be altered twice in the same request",
		"good":    "0 ",
		"strange": "33 Unknown SCRAM mechanism",
		"empty":   "-1 ",

		strings.Repeat("n", 901): "93 Username is too long",
	}, got)

	describe := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	all := p.ask(0, describe).(*kmsg.DescribeUserSCRAMCredentialsResponse)
	require.Zero(t, all.ErrorCode)
	require.Len(t, all.Results, 2)
	require.Equal(t, "good", all.Results[0].User)
	require.Equal(t, int32(16384), all.Results[0].CredentialInfos[0].Iterations)
	require.Equal(t, int8(scramSHA256), all.Results[0].CredentialInfos[0].Mechanism)
	for _, name := range []string{"there", "gone", "good", "good"} {
		u := kmsg.NewDescribeUserSCRAMCredentialsRequestUser()
		u.Name = name
		describe.Users = append(describe.Users, u)
	}
	some := p.ask(0, describe).(*kmsg.DescribeUserSCRAMCredentialsResponse)
	require.Len(t, some.Results, 3)
	require.Zero(t, some.Results[0].ErrorCode)
	require.Equal(t, codeResourceNotFound, some.Results[1].ErrorCode)
	require.Equal(t, codeDuplicateResource, some.Results[2].ErrorCode)
}

func TestPutScramUserIsHeldToKafkasBounds(t *testing.T) {
	f := newFortress(t, Config{}, ListenerConfig{})
	for _, u := range []ScramUser{
		{}, {Name: "a"}, {Name: "a", Password: "topsecret", Mechanism: "PLAIN"}, {Name: "a", Password: "topsecret", Iterations: 100}, {Name: "a", Password: "topsecret", Iterations: 20_000}, {Name: strings.Repeat("n", 901), Password: "topsecret"},
	} {
		err := f.server.PutScramUser(t.Context(), u)
		require.ErrorIs(t, err, partition.ErrInvalidConfig)
		require.NotContains(t, err.Error(), "topsecret")
	}
	require.NoError(t, f.server.PutScramUser(t.Context(), ScramUser{Name: "a", Password: "topsecret"}))
	for _, s := range f.store.Settings("") {
		require.NotContains(t, string(s.Value), "topsecret")
	}
}

// The bytes of a credential on the disk: readable for ever.
func TestCredentialOfTheFirstFormatIsStillRead(t *testing.T) {
	c, err := wire.NewScramCredential(wire.MechanismScramSHA256, "pencil", []byte("salt"), 4096)
	require.NoError(t, err)
	const stored = `{"salt":"c2FsdA==","storedKey":"u+iLs9qG4xpz8n4iBFJlze/fVOjP2jhqQIXx/NAiFSQ=","serverKey":"elQh4wT48epeZpwXBxlihIdim+BEkjp3sUAFd/ICyyI=","iterations":4096}`
	require.Equal(t, stored, string(encodeCredential(c)))
	users, err := buildScramUsers([]partition.Setting{{Key: "kafka/scram/SCRAM-SHA-256/a/b", Value: []byte(stored)}})
	require.NoError(t, err)
	require.Equal(t, c, (*users)[scramSHA256]["a/b"])
	for _, bad := range []partition.Setting{
		{Key: "kafka/scram/SCRAM-SHA-1/a", Value: []byte(stored)}, {Key: "kafka/scram/SCRAM-SHA-512/a", Value: []byte(stored)}, {Key: "kafka/scram/SCRAM-SHA-256/a", Value: []byte(`{"topsecret`)},
		{Key: "kafka/scram/SCRAM-SHA-256/a", Value: []byte(`{}`)},
	} {
		_, err := buildScramUsers([]partition.Setting{bad})
		require.ErrorIs(t, err, errBadCredential)
		require.NotContains(t, err.Error(), "topsecret")
	}
}

func FuzzStoredCredential(f *testing.F) {
	f.Add([]byte(`{"salt":"c2FsdA==","storedKey":"","serverKey":"","iterations":4096}`))
	f.Fuzz(func(t *testing.T, stored []byte) {
		users, err := buildScramUsers([]partition.Setting{{Key: "kafka/scram/SCRAM-SHA-512/a", Value: stored}})
		if err != nil {
			require.ErrorIs(t, err, errBadCredential)
			return
		}
		c := (*users)[scramSHA512]["a"]
		require.Len(t, c.StoredKey, 64)
		require.Positive(t, c.Iterations)
	})
}
