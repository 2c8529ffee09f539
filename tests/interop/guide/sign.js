// As the partner's guide shows it; only where the two values come from and where the token goes is ours.
const jwt = require("jsonwebtoken");

const clientId = process.env.CLIENT_ID;
const secretKey = process.env.SECRET_KEY;

const token = jwt.sign({ clientId }, secretKey, { algorithm: 'HS256', expiresIn: '15m' });

process.stdout.write(token);
