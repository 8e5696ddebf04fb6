"""Signing in at the hospital's own OpenID provider: authorization code flow with PKCE."""
