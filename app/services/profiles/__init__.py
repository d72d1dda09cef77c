"""Search of identities in the operator's index of profiles: three stores behind ports."""
