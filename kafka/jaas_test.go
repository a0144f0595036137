package kafka

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/partlog/partlog/partition"
	"github.com/stretchr/testify/require"
)

func TestUsersOfPlainAreReadFromJAAS(t *testing.T) {
	for config, want := range map[string]map[string]Password{
		plainLoginModule + ` required user_alice="secret" user_bob="b;c d\"e";`:                                 {"alice": "secret", "bob": `b;c d"e`},
		plainLoginModule + " required\n  username=\"admin\" password=\"x\"\n  user_admin='x' // one\n # two\n;": {"admin": "x"},
		plainLoginModule + ` Required user_a=b ;`:                                                               {"a": "b"},
		plainLoginModule + ` required serviceName="k";`:                                                         {},
		plainLoginModule + ` required "user_a b"="c";`:                                                          {"a b": "c"},
		plainLoginModule + ` required user_a="x#y//z=";`:                                                        {"a": "x#y//z="},
	} {
		got, err := plainUsersOfJAAS(config)
		require.NoError(t, err, config)
		require.Equal(t, want, got)
	}
	for _, bad := range []string{
		"", "x", plainLoginModule, plainLoginModule + " required", plainLoginModule + ` required user_a="topsecret"`, plainLoginModule + ` perhaps user_a="topsecret";`,
		plainLoginModule + ` required user_a="topsecret;`, `Other required user_a="topsecret";`, plainLoginModule + ` required topsecret;`, plainLoginModule + ` required user_="topsecret";`,
		plainLoginModule + ` required user_a="";`,
	} {
		_, err := plainUsersOfJAAS(bad)
		require.ErrorIs(t, err, partition.ErrInvalidConfig, bad)
		require.NotContains(t, err.Error(), "topsecret")
	}
}

func TestPasswordsAreNotPrinted(t *testing.T) {
	c := ListenerConfig{Users: map[string]Password{"alice": "topsecret"}}
	u := ScramUser{Name: "bob", Password: "topsecret"}
	asJSON, err := json.Marshal(u)
	require.NoError(t, err)
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%s %q %x", u.Password, u.Password, u.Password), fmt.Sprintf("%+v %#v", u, &u), string(asJSON)} {
		require.NotContains(t, text, "topsecret")
		require.NotContains(t, text, "746f70")
		require.Contains(t, text, hidden)
	}
}

func FuzzJAAS(f *testing.F) {
	f.Add(plainLoginModule + ` required user_alice="secret" user_bob="b;c d\"e";`)
	f.Add(`a b "`)
	f.Fuzz(func(t *testing.T, config string) {
		users, err := plainUsersOfJAAS(config)
		if err != nil {
			require.ErrorIs(t, err, partition.ErrInvalidConfig)
			return
		}
		for name, password := range users {
			require.NotEmpty(t, name)
			require.NotEmpty(t, password)
		}
	})
}
